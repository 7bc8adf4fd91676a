// A JupyterLab extension without a build: one command, in the palette and in the launcher.
(() => {
  const COMMAND = "lepton-nb:open-panels";
  const CELL = `import lepton_nb as lnb

cluster = lnb.ClusterPanel()
page = lnb.Dashboard(
    cluster,
    lnb.TrainingPanel(cluster=lambda: cluster.cluster),  # the tables of this notebook
    lnb.WindowPanel(),
    layout={"Machines": "A", "Models": "B", "Streams": "C"},
    title="lepton_nb",
)
page`;
  let shared = {};

  async function from(packageName, name) {
    const versions = Object.values(shared[packageName] ?? {});
    return versions.length ? (await versions[0].get())()[name] : undefined;
  }

  async function open(app, cwd) {
    const panel = await app.commands.execute("notebook:create-new", {
      cwd,
      kernelName: app.serviceManager.kernelspecs.specs?.default,
    });
    await panel.context.ready;
    await panel.sessionContext.ready;
    panel.content.model.sharedModel.getCell(0).setSource(CELL);
    await app.commands.execute("notebook:run-cell");
  }

  function activate(app, launcher, palette) {
    app.commands.addCommand(COMMAND, {
      label: (args) => (args.isPalette ? "Open lepton_nb's Panels in a New Notebook" : "lepton_nb panels"),
      caption: "A cluster, trainings and streams, to start and watch with the mouse",
      execute: (args) => open(app, args.cwd),
    });
    launcher?.add({ command: COMMAND, category: "Notebook", rank: 50 });
    palette?.addItem({ command: COMMAND, category: "Notebook Operations", args: { isPalette: true } });
  }

  const container = {
    init(scope) {
      shared = scope;
    },
    async get() {
      const tokens = [
        await from("@jupyterlab/launcher", "ILauncher"),
        await from("@jupyterlab/apputils", "ICommandPalette"),
      ];
      // A page that has neither, such as an app, has no use for the command.
      const plugins = tokens.every(Boolean)
        ? [{ id: "lepton-nb:panels", autoStart: true, optional: tokens, activate }]
        : [];
      return () => ({ __esModule: true, default: plugins });
    },
  };
  (window._JUPYTERLAB ??= {})["lepton-nb"] = container;
})();
