// What a page of an app does besides Voila's own: it follows the system's theme, and by a connection of its own it
// knows whether the server and the program (kernel) behind it are there, and lets them know whether it is.
window.lepton = (() => {
  const SILENT_MS = 5000; // the server says something every second
  const RETRY_MS = 1000;
  const LOOK_MS = 500;
  const PROBE_MS = 4000;
  const LEFT = 4001; // close codes, see handlers.py
  const GIVEN_UP = 4002;

  const LOST = {
    lead: "The connection to the server is lost.",
    rest: "What you see may be out of date, and nothing you do here reaches the program. The page tries to connect "
      + "again by itself. If that takes long, check your network, or ask whoever runs this app whether it still runs.",
  };
  const ENDED = {
    lead: "The program behind this page has ended.",
    rest: "What you see stays as it is; nothing here responds any more. Start anew to get a fresh program.",
    button: "Start anew",
  };

  let kernelId = "";
  let socket = null;
  let openedAt = 0; // when the connection was last asked for
  let heardAt = 0;
  let lookedAt = 0;
  let lost = false;
  let over = false;
  let mending = false;
  let listened = null; // the kernel's connection whose errors are told

  function theme(dark) {
    const { classList, dataset } = document.body;
    classList.toggle("theme-dark", dark);
    classList.toggle("theme-light", !dark);
    dataset.jpThemeLight = String(!dark);
    dataset.jpThemeName = dark ? "JupyterLab Dark" : "JupyterLab Light";
  }

  function show(notice) {
    const place = document.getElementById("lepton-notice");
    place.replaceChildren();
    if (!notice) return;
    const box = document.createElement("div");
    const text = document.createElement("p");
    const lead = document.createElement("strong");
    lead.textContent = notice.lead;
    text.append(lead, " ", notice.rest);
    box.append(text);
    if (notice.button) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = notice.button;
      button.addEventListener("click", () => location.reload());
      box.append(button);
    }
    place.append(box);
  }

  function setLost() {
    if (lost || over) return;
    lost = true;
    show(LOST);
  }

  function setOver() {
    over = true;
    show(ENDED);
    socket?.close();
  }

  // What a widget's own code raises answers no cell, so no cell shows it.
  function listen() {
    const kernel = window.jupyterapp?.widgetManager?.kernel;
    if (!kernel || kernel === listened) return;
    listened = kernel;
    kernel.iopubMessage.connect((_, { header, parent_header: asked, content }) => {
      if (header.msg_type === "error" && asked?.msg_type === "comm_msg") showFault(content);
    });
  }

  function element(name, text, parent) {
    const made = document.createElement(name);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  function showFault({ ename, evalue, traceback }) {
    const place = document.getElementById("lepton-fault");
    place.replaceChildren();
    const box = element("section", "", place);
    box.className = "lepton-stop";
    element("p", "What you did last on this page failed. The rest of it goes on.", box);
    element("p", evalue ? `${ename}: ${evalue}` : ename, box).className = "lepton-stop-words";
    const details = element("details", "", box);
    element("summary", "Where it happened (traceback)", details);
    element("pre", traceback.join("\n").replace(/\u001b\[[0-9;]*m/g, ""), details).tabIndex = 0;
    const button = element("button", "Copy", details);
    button.type = "button";
    button.addEventListener("click", () => copy(button));
    element("span", "", details).setAttribute("role", "status");
    const dismiss = element("button", "Dismiss", box);
    dismiss.type = "button";
    dismiss.addEventListener("click", () => place.replaceChildren());
  }

  function connect() {
    const base = document.body.dataset.baseUrl.replace(/voila\/$/, "");
    const url = new URL(`${base}lepton/page/${kernelId}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    openedAt = Date.now();
    const mine = new WebSocket(url);
    socket = mine;
    mine.addEventListener("message", (event) => {
      if (mine !== socket) return;
      heardAt = Date.now();
      if (JSON.parse(event.data).kind === "ended") setOver();
      else if (lost && !over) mend();
    });
    mine.addEventListener("close", () => {
      if (mine !== socket || over) return;
      socket = null;
      setLost();
    });
  }

  // Back: the widgets' connection must be, too, before the notice goes.
  async function mend() {
    if (mending) return;
    mending = true;
    try {
      const kernel = window.jupyterapp?.widgetManager?.kernel;
      if (kernel && !(await answers(kernel))) await kernel.reconnect();
      lost = false;
      if (!over) show(null);
    } catch {
      // it did not come back: the next message of the server leads here again
    } finally {
      mending = false;
    }
  }

  // Whether anything comes through the kernel's connection: it may look open and lead nowhere.
  function answers(kernel) {
    if (kernel.connectionStatus !== "connected") return false;
    return new Promise((resolve) => {
      const done = (result) => {
        kernel.anyMessage.disconnect(heard);
        clearTimeout(timer);
        resolve(result);
      };
      const heard = (_, message) => { if (message.direction === "recv") done(true); };
      const timer = setTimeout(() => done(false), PROBE_MS);
      kernel.anyMessage.connect(heard);
      kernel.requestKernelInfo().catch(() => {});
    });
  }

  function look() {
    const now = Date.now();
    // After a pause of this page itself (a long computation, a laptop that slept) messages may still be on their way.
    const paused = now - lookedAt > 4 * LOOK_MS;
    lookedAt = now;
    if (over) return;
    listen();
    if (!kernelId) {
      kernelId = ownKernel();
      if (kernelId) { heardAt = now; connect(); }
    } else if (!socket) {
      if (now - openedAt > RETRY_MS) connect();
    } else if (!paused && now - Math.max(heardAt, openedAt) > SILENT_MS) {
      const silent = socket;
      socket = null;
      silent.close(GIVEN_UP);
      setLost();
    }
  }

  function ownKernel() {
    try {
      return JSON.parse(document.getElementById("jupyter-config-data").textContent).kernelId;
    } catch {
      return ""; // that part of the page has not come yet, or not whole
    }
  }

  // Voila ends the kernel when the browser asks whether the page may be left: also when it then stays, as with a
  // link to a download. Here a page ends its kernel when it goes.
  const add = window.addEventListener;
  window.addEventListener = function (type, listener, ...rest) {
    if (type === "beforeunload" && String(listener).includes("voila/api/shutdown")) return;
    add.call(window, type, listener, ...rest);
  };

  function start() {
    const notice = document.createElement("div");
    notice.id = "lepton-notice";
    notice.setAttribute("role", "alert");
    document.body.prepend(notice);
    const fault = document.createElement("div");
    fault.id = "lepton-fault";
    fault.setAttribute("role", "alert");
    notice.after(fault);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    theme(dark.matches);
    dark.addEventListener("change", () => theme(dark.matches));
    lookedAt = Date.now();
    setInterval(look, LOOK_MS / 2);
    add.call(window, "pagehide", () => {
      over = true;
      socket?.close(LEFT);
    });
    // Out of the browser's own memory of pages: its program is gone.
    add.call(window, "pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  // The text of the traceback beside a button.
  async function copy(button) {
    const place = button.parentElement;
    const { textContent } = place.querySelector("pre");
    try {
      await navigator.clipboard.writeText(textContent);
    } catch { // not allowed, or not there on a network without encryption
      const area = document.createElement("textarea");
      area.value = textContent;
      place.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    place.querySelector("[role=status]").textContent = "copied";
  }

  return { start, copy };
})();
