// Search in a site that was opened from a folder. Browsers start no worker from file:, so its script runs in a hidden
// frame. MkDocs Material's plugin "offline" loads such a script from elsewhere unless one of this name is there.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      this.ready = new Promise((resolve) => (frame.onload = resolve));
      frame.contentDocument.open();
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      frame.contentDocument.write(`<script src="${url}"></script>`);
      frame.contentDocument.close();
      this.inside = inside;
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
