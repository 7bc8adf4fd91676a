import contextlib
import json
import re
import signal
import time
import urllib.error
import urllib.parse
import urllib.request

import psutil
import pytest
import websocket
from browsing import visiting
from labs import keep
from notebook_files import figure, write_notebook
from serving import END_S, Relay, address, command, patient

from lepton_nb.cli import main

URL = r"http://127\.0\.0\.1:\d+/"
# A page that has gone leaves nothing after this long.
GONE_S = 10
# These machines are shared.
PATIENCE_MS = 120_000
# Of nobody.
KERNEL = "12345678-1234-1234-1234-123456789012"
COUNTER = """
import os, ipywidgets
count, label = 0, ipywidgets.Label("pressed 0")
def press(button):
    global count
    count += 1
    label.value = f"pressed {count}"
button = ipywidgets.Button(description="Press", icon="play")
button.on_click(press)
def break_it(button):
    raise ValueError("<b>broken</b>")
other = ipywidgets.Button(description="Break")
other.on_click(break_it)
print("process", os.getpid())
ipywidgets.VBox([button, label, other])
"""


@contextlib.contextmanager
def app(folder, *options, notebook="app.ipynb", pattern=URL):
    """The app of a notebook in `folder`: its process and its address."""
    with command("app", notebook, "--no-browser", *options, cwd=folder) as process:
        yield process, patient(address(process, pattern))


@contextlib.contextmanager
def patient_visit(**options):
    with visiting(**options) as visit:
        visit.page.context.set_default_timeout(PATIENCE_MS)
        yield visit


def another_visitor(page):
    """A page in the same browser that shares nothing with `page`."""
    context = page.context.browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def family(process):
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes, seconds=GONE_S):
    assert processes
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert alive == []


def with_program(process, name):
    """All processes of the app, once one of them has a name that starts so."""
    deadline = time.monotonic() + END_S
    while not any(child.name().startswith(name) for child in family(process)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return family(process)


def press(page, times):
    for _ in range(times):
        page.get_by_role("button", name="Press").click()


def refused(url, **headers):
    """The status and the text of an answer that is an error."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers=headers)).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    raise AssertionError(f"{url} was answered")


def refused_socket(url, **options):
    """The status of a refused websocket."""
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(url.replace("http", "ws"), **options)
    return caught.value.status_code


@pytest.mark.slow
@pytest.mark.browser
def test_an_app_shows_its_figures_asks_nobody_and_ends_with_its_kernel(tmp_path):
    write_notebook(
        tmp_path / "app.ipynb",
        "# An app with $x^2$\n",
        "import lepton_nb as lnb\n"
        "cluster = lnb.Cluster(workers=2, memory='500MB')\n"
        "print('mode', lnb.mode(), len(cluster.workers))",
        figure("In the app"),
        "import ipywidgets\nipywidgets.Button(description='Press', icon='play')",
    )
    with app(tmp_path) as (process, url), patient_visit(dark=True) as visit:
        visit.page.goto(url)
        visit.page.wait_for_selector(".js-plotly-plot .main-svg .trace")
        visit.page.wait_for_selector("button:has-text('Press')")
        assert visit.page.locator(".js-plotly-plot").count() == 1
        assert visit.page.get_by_text("mode app 2").count() == 1
        assert visit.page.locator("button i.fa-play").count() == 1
        icon = "getComputedStyle(document.querySelector('button i.fa-play'), '::before').content"
        assert visit.page.evaluate(icon) not in ("none", "normal", "")
        assert visit.page.title() == "An app with x2"
        assert visit.page.evaluate("document.documentElement.lang") == "en"
        background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        visit.page.wait_for_selector("body[data-jp-theme-light=false]")
        assert sum(visit.page.evaluate(background)) < 3 * 64
        visit.page.emulate_media(color_scheme="light")
        visit.page.wait_for_selector("body[data-jp-theme-light=true]")
        assert sum(visit.page.evaluate(background)) > 3 * 192
        assert visit.page.locator("#lepton-notice").inner_text() == ""
        running = family(process)
        assert len(running) >= 3
        assert visit.outside(url, url.replace("http:", "ws:")) == []
        assert visit.failed == []
        assert visit.errors == []
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=END_S)
        visit.page.locator("#lepton-notice").get_by_text("The program behind this page has ended").wait_for()
    assert process.returncode == 0
    assert_gone(running)


@pytest.fixture
def with_parameters(tmp_path):
    write_notebook(
        tmp_path / "app.ipynb",
        "# Delays",
        "import json, os\n"
        "from ipykernel.connect import get_connection_info\n"
        "assert json.loads(get_connection_info())['transport'] == 'ipc'\n"
        "told = [os.environ.get(name, '') for name in ('QUERY_STRING', 'VOILA_REQUEST_URL')]\n"
        "print('given', json.dumps([carrier, hours, extra]), 'told', json.dumps(told))",
        COUNTER,
        parameters="from typing import Annotated\nimport lepton_nb as lnb\n"
        "carrier: str = 'UA'  # the <airline>\nhours: Annotated[int, lnb.Between(1, 24)] = 1  # length of a window\n"
        "extra: list[str] = []",
    )
    return tmp_path


def shown(page):
    """What the notebook printed: the values it was given, what it was told of the address, and its process."""
    page.wait_for_selector("button:has-text('Press')")
    text = page.inner_text("body")
    given, told = re.search(r"given (.*) told (.*)", text).groups()
    return json.loads(given), json.loads(told), int(re.search(r"process (\d+)", text)[1])


@pytest.mark.slow
def test_a_wrong_address_is_told_whole_before_a_kernel_starts_and_others_are_kept_out(with_parameters):
    with app(with_parameters) as (process, url):
        status, text = refused(f"{url}?carier=<script>&hours=-1&hours2=1")
        assert status == 400
        for part in (
            "unknown parameter &#39;carier&#39;; did you mean &#39;carrier&#39;?",
            "parameter &#39;hours&#39; must be int from 1 to 24, not &#39;-1&#39;", "<td>int from 1 to 24</td>",
            "unknown parameter &#39;hours2&#39;; did you mean &#39;hours&#39;?",
            "<code>carrier</code>", "<td>str</td>", "<code>&#39;UA&#39;</code>", "the &lt;airline&gt;", "list[str]",
        ):  # fmt: skip
            assert part in text
        assert "<script>" not in text
        assert "more than once" in refused(f"{url}?hours=1&hours=2")[1]
        assert "in UTF-8" in refused(f"{url}?carrier=%ff")[1]
        assert refused(url, Host="evil.example")[0] == 403
        assert refused(url, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"})[0] == 403
        assert refused_socket(f"{url}lepton/page/{KERNEL}", origin="http://evil.example") == 403
        assert family(process) == []
        process.terminate()
        out, _ = process.communicate(timeout=END_S)
        assert "Traceback" not in out


@pytest.mark.slow
@pytest.mark.browser
def test_visitors_get_their_own_values_and_state_as_data_also_from_a_pool(with_parameters):
    evil = "'\"\n__import__('os').abort()\\</script><b>é../../;rm -rf $(x) `y` {{z}} %matplotlib"
    query = urllib.parse.urlencode({"carrier": evil, "hours": "7", "extra": '["a\\"", "\\n!ls"]'})
    with app(with_parameters, "--preheat", "1") as (process, url), patient_visit() as visit:
        first = visit.page
        first.goto(f"{url}?{query}")
        given, told, _ = shown(first)
        assert given == [evil, 7, ['a"', "\n!ls"]]
        assert told == [query, f"{url}?{query}"]
        press(first, 3)
        kernels = [child.pid for child in family(process) if "ipykernel" in " ".join(child.cmdline())]
        assert len(kernels) == 2
        numbers = []
        # The second meets a kernel that was started when the first had come.
        for page in [another_visitor(first) for _ in range(2)]:
            page.goto(url)
            given, told, number = shown(page)
            numbers.append(number)
            assert given == ["UA", 1, []]
            assert told == ["", ""]
            press(page, 1)
            page.get_by_text("pressed 1").wait_for()
        assert numbers[0] in kernels
        assert numbers[1] not in kernels
        first.get_by_text("pressed 3").wait_for()
        assert visit.errors == []
        process.terminate()
        process.communicate(timeout=END_S)
        assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_says_when_its_connection_or_its_program_is_gone_and_comes_back(with_parameters):
    with app(with_parameters) as (_, url), Relay(int(url.split(":")[2].strip("/"))) as relay, patient_visit() as visit:
        page, notice = visit.page, visit.page.locator("#lepton-notice")
        page.goto(f"{relay.url}?hours=2")
        given, _, number = shown(page)
        # What a click breaks is told, and the page goes on.
        page.get_by_role("button", name="Break").click()
        fault = page.locator("#lepton-fault")
        fault.get_by_text("ValueError: <b>broken</b>", exact=True).wait_for()
        fault.get_by_text("Where it happened").click()
        assert "def break_it" in fault.locator("pre").inner_text()
        fault.get_by_role("button", name="Dismiss").click()
        assert fault.inner_text() == ""
        press(page, 1)
        page.get_by_text("pressed 1").wait_for()
        other = another_visitor(page)
        other.goto(f"{url}?hours=3")
        assert shown(other)[:2] == ([*given[:1], 3, []], ["hours=3", f"{url}?hours=3"])
        for state in ("silent", "cut"):
            relay.state = state
            notice.get_by_text("The connection to the server is lost").wait_for()
            relay.state = "open"
            notice.locator("div").wait_for(state="detached")
            press(page, 1)
            page.get_by_text(f"pressed {2 if state == 'silent' else 3}").wait_for()
        assert psutil.pid_exists(number)
        psutil.Process(number).kill()
        notice.get_by_text("The program behind this page has ended").wait_for()
        notice.get_by_role("button", name="Start anew").click()
        page.get_by_text("pressed 0").wait_for()
        assert shown(page)[0] == given
        assert shown(page)[2] != number
        assert notice.inner_text() == ""
        press(other, 1)
        other.get_by_text("pressed 1").wait_for()


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_that_goes_in_the_middle_of_training_leaves_nothing(tmp_path):
    write_notebook(
        tmp_path / "app.ipynb",
        "import polars as pl, lepton_nb as lnb\n"
        "data = pl.DataFrame({'a': [0.0, 1.0] * 500, 'y': [0, 1] * 500})\n"
        "cluster = lnb.Cluster(workers=2, memory='1GB')\n"
        "run = lnb.train(lnb.models.mlp(), data, target='y', epochs=1_000_000, cluster=cluster)\n"
        "print('training')",
    )
    with app(tmp_path) as (process, url), patient_visit() as visit:
        visit.page.goto(url)
        visit.page.get_by_text("training").wait_for()
        running = with_program(process, "lnb-rank-")
        visit.page.close()
        assert_gone(running)
        assert process.poll() is None


@pytest.mark.slow
@pytest.mark.browser
def test_what_ends_while_a_page_is_made_and_a_browser_that_is_killed_leave_nothing(tmp_path):
    write_notebook(
        tmp_path / "app.ipynb",
        "# A title",
        "import os, subprocess, time\nsubprocess.Popen(['sleep', '600'])\n"
        "if way == 'busy': time.sleep(600)\n"
        "if way == 'dies': os.kill(os.getpid(), 9)",
        COUNTER,
        "if way == 'fails':\n    import lepton_nb as lnb\n    raise lnb.DataError('there is no <day> 0; give another')",
        "# Not reached",
        "print('not reached')",
        parameters="from typing import Literal\nway: Literal['stands', 'busy', 'dies', 'fails'] = 'stands'",
    )
    with app(tmp_path, "--keep-s", "2") as (process, url):
        with patient_visit() as visit:
            visit.page.goto(f"{url}?way=busy", wait_until="commit")
            running = with_program(process, "sleep")
            visit.page.close()
            assert_gone(running)
        with patient_visit() as visit:
            visit.page.goto(f"{url}?way=dies")
            visit.page.locator("#lepton-notice").get_by_text("The program behind this page has ended").wait_for()
            visit.page.get_by_role("heading", name="A title").wait_for()
            assert visit.page.get_by_text("Error").count() == 0
            deadline = time.monotonic() + GONE_S
            while family(process):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            visit.page.goto(f"{url}?way=fails")
            stop = visit.page.get_by_role("region", name="Error")
            stop.get_by_text("there is no <day> 0; give another", exact=True).wait_for()
            assert stop.get_by_text("The page ends here: the step after this one was not run.").count() == 1
            assert visit.page.get_by_text("reached").count() == 0
            assert not stop.get_by_label("Traceback").is_visible()
            stop.locator("summary").click()
            assert "DataError" in stop.get_by_label("Traceback").inner_text()
            stop.get_by_role("button", name="Copy").click()
            stop.get_by_text("copied").wait_for()
            keep(visit.page, "app-stop")
            # What came before the error goes on.
            press(visit.page, 2)
            visit.page.get_by_text("pressed 2").wait_for()
            stop.get_by_role("link", name="Open the page with its usual settings").click()
            visit.page.get_by_text("pressed 0").wait_for()
            assert visit.page.get_by_role("region", name="Error").count() == 0
            running = with_program(process, "sleep")
            for child in psutil.Process().children(recursive=True):
                if "chrom" in child.name():
                    child.kill()
            assert_gone(running, 2 + GONE_S)
        process.terminate()
        out, _ = process.communicate(timeout=END_S)
        assert "Traceback" not in out
        assert "a page ended at an error of its notebook: DataError: there is no <day> 0; give another" in out


@pytest.mark.slow
@pytest.mark.browser
def test_on_a_network_an_app_asks_for_its_token_everywhere(with_parameters):
    (with_parameters / "picture.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    listening = r"http://[^:]+:(\d+)/\?token=([0-9a-f]{48}) "
    with command("app", "app.ipynb", "--no-browser", "--ip", "0.0.0.0", cwd=with_parameters) as process:
        port, token = re.search(listening, address(process, listening)).groups()
        url = patient(f"http://127.0.0.1:{port}/")
        status, text = refused(url)
        assert status == 403
        assert "asks for a token" in text
        wrong = ("0" if token[0] != "0" else "1") + token[1:]
        assert refused(f"{url}?token={wrong}")[0] == 403
        assert refused(f"{url}voila/files/picture.svg")[0] == 403
        with patient_visit() as visit:
            visit.page.goto(f"{url}?token={token}&hours=4")
            given, told, _ = shown(visit.page)
            assert given == ["UA", 4, []]
            assert told == ["hours=4", f"{url}?hours=4"]
            press(visit.page, 1)
            visit.page.get_by_text("pressed 1").wait_for()
            assert visit.errors == []
            assert visit.failed == []
            kernel = json.loads(visit.page.locator("#jupyter-config-data").inner_text())["kernelId"]
            cookies = "; ".join(f"{one['name']}={one['value']}" for one in visit.page.context.cookies())
            for path in (f"lepton/page/{kernel}", f"api/kernels/{kernel}/channels"):
                assert refused_socket(f"{url}{path}") == 403
                assert refused_socket(f"{url}{path}", cookie=cookies, origin="http://evil.example") == 403
                websocket.create_connection(f"{url}{path}".replace("http", "ws"), cookie=cookies).close()
            assert refused(f"{url}api/kernels/{kernel}")[0] == 403
            visit.page.get_by_text("pressed 1").wait_for()
        process.terminate()
        out, _ = process.communicate(timeout=END_S)
        assert token not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ip", "example.org"], "'example.org' is no address; give a number such as 127.0.0.1"),
        (["--ip", "1.2.3"], "'1.2.3' is no address"),
        (["--preheat", "-1"], "give a number of copies from 0 to 64"),
        (["--preheat", "many"], "argument --preheat: invalid"),
        (["--keep-s", "0"], "give seconds from 1 to 86400, a day"),
        (["--keep-s", "nan"], "give seconds from 1 to 86400, a day"),
    ],
)
def test_wrong_options_are_wrong_usage(options, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["app", "app.ipynb", f"{options[0]}={options[1]}"])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "cell", "message"),
    [
        (["--ip", "192.0.2.1"], "hours = 1", "this machine cannot listen on ip=192.0.2.1 (Cannot assign requested"),
        (["--preheat", "1"], "hours: int", "--preheat needs a default for every parameter; hours has none"),
        ([], "token = 1", "parameter 'token' of the notebook has a name that an app's address needs; rename it"),
        ([], "hours = = 1", "the parameters cell (cell 1) is not valid Python"),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_starts(options, cell, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_notebook(tmp_path / "app.ipynb", parameters=cell)
    assert main(["app", "app.ipynb", "--no-browser", *options]) == 1
    assert message in capsys.readouterr().err
