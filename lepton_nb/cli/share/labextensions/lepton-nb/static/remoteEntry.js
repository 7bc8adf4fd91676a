// A JupyterLab extension without a build: one command, in the palette and in the launcher, and the last pictures of live
// views in a notebook that is opened without the kernel that drew them.
(() => {
  const COMMAND = "lepton-nb:open-panels";
  const VIEW = "application/vnd.jupyter.widget-view+json";
  const OURS = "application/vnd.lepton-nb.live+json";
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

  // An output of ours has a live view, and a figure or words besides. JupyterLab shows the first, and an error where its
  // model is gone; without it, it shows the rest.
  async function settle(panel) {
    await panel.context.ready;
    await panel.sessionContext.ready;
    const kernel = panel.sessionContext.session?.kernel;
    const reply = await kernel?.requestCommInfo({ target_name: "jupyter.widget" });
    const alive = new Set(Object.keys(reply?.content?.comms ?? {}));
    for (const cell of panel.content.model?.cells ?? []) {
      for (let index = 0; index < (cell.outputs?.length ?? 0); index++) {
        const output = cell.outputs.get(index);
        const { [VIEW]: view, ...rest } = output.data;
        if (view && OURS in rest && !alive.has(view.model_id)) output.setData({ data: rest });
      }
    }
  }

  function activate(app, notebooks, launcher, palette) {
    notebooks?.widgetAdded.connect((_, panel) => {
      settle(panel).catch((error) => console.warn("lepton-nb: outputs without a kernel stay as they are", error));
    });
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
        await from("@jupyterlab/notebook", "INotebookTracker"),
        await from("@jupyterlab/launcher", "ILauncher"),
        await from("@jupyterlab/apputils", "ICommandPalette"),
      ];
      // A page that has none of them, such as an app, has no use for the command.
      const plugins = tokens.every(Boolean)
        ? [{ id: "lepton-nb:panels", autoStart: true, optional: tokens, activate }]
        : [];
      return () => ({ __esModule: true, default: plugins });
    },
  };
  (window._JUPYTERLAB ??= {})["lepton-nb"] = container;
})();
