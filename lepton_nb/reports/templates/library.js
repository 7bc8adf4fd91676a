// plotly.js is in the page once, compressed. Scripts of outputs may call it before it is unpacked: they wait for it.
const unpackLibrary = async () => {
  if (!("DecompressionStream" in window)) throw new Error("this browser is too old; open the page in one of 2023 or later");
  const packed = document.getElementById("plotly-js").textContent.trim();
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  return window.Plotly;
};
window.lepton = { library: unpackLibrary() };
window.Plotly = new Proxy({}, {
  get: (_, name) => async (...given) => (await window.lepton.library)[name](...given),
});
