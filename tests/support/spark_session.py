"""A real Spark of two threads in a JVM of its own, which is gone at the end."""

import contextlib
import os
import signal
from collections.abc import Iterator

from pyspark import SparkContext
from pyspark.sql import SparkSession


@contextlib.contextmanager
def local_spark(folder: str) -> Iterator[SparkSession]:
    """A session in UTC that keeps its files in `folder`; the JVM is ended with it, with its ports."""
    os.makedirs(folder, exist_ok=True)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.local.dir": folder,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": os.path.join(folder, "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    with _errors_into(os.path.join(folder, "spark.log")):
        session = builder.getOrCreate()
    gateway = SparkContext._gateway
    try:
        session.sparkContext.setLogLevel("OFF")
        yield session
    finally:
        session.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()
        try:
            gateway.proc.wait(timeout=20)
        finally:
            if gateway.proc.poll() is None:
                os.killpg(gateway.proc.pid, signal.SIGKILL)
                gateway.proc.wait()
        SparkContext._gateway = SparkContext._jvm = None
        del os.environ["SPARK_LOCAL_IP"]


@contextlib.contextmanager
def _errors_into(path: str) -> Iterator[None]:
    """Let a process that is started here write its log into a file; the file is shown where that fails."""
    kept = os.dup(2)
    try:
        with open(path, "w") as log:
            os.dup2(log.fileno(), 2)
        yield
    except Exception as error:
        with open(path) as log:
            error.add_note(log.read()[-3_000:])
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
