// A WebSocket that connects again after a failure, with a random delay that doubles up to a minute.

const FIRST_DELAY = 0.5; // seconds
const LONGEST_DELAY = 60;
const STABLE = 5; // a connection that was open for so long starts from the first delay again
const FATAL = new Set([1002, 1003, 1007, 1008, 1009]); // we are wrong: to try again would not mend it

export class Reconnecting {
  /**
   * @param {string} path of the WebSocket, on the host of this page
   * @param {object} on what to call: `open()`, `message(value)` with the JSON value of each message, and
   *   `state(name, seconds)` with "connecting", "open", "waiting" (for so many seconds) or "ended"
   */
  constructor(path, on) {
    this.uri = new URL(path, location.href);
    this.uri.protocol = this.uri.protocol.replace("http", "ws");
    this.on = on;
    this.delay = FIRST_DELAY;
    addEventListener("online", () => this.retry());
    this.connect();
  }

  connect() {
    this.on.state("connecting");
    const socket = new WebSocket(this.uri);
    this.socket = socket;
    let openedAt;
    socket.onopen = () => {
      openedAt = performance.now();
      this.on.state("open");
      this.on.open();
    };
    socket.onmessage = (event) => this.on.message(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (FATAL.has(event.code)) return this.on.state("ended");
      if (performance.now() - openedAt > STABLE * 1000) this.delay = FIRST_DELAY;
      this.wait();
    };
  }

  wait() {
    // Random, so that not all pages come back in the same moment when a server starts again.
    this.due = performance.now() + this.delay * (0.5 + Math.random() / 2) * 1000;
    this.delay = Math.min(this.delay * 2, LONGEST_DELAY);
    this.count();
  }

  count() {
    const left = (this.due - performance.now()) / 1000;
    if (left <= 0) return this.connect();
    this.on.state("waiting", Math.ceil(left));
    this.timer = setTimeout(() => this.count(), Math.min(left, 1) * 1000);
  }

  /** Connect now, if it would be tried later. */
  retry() {
    if (this.timer === undefined || this.socket.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.connect();
  }

  /** Send a JSON value; false if there is no connection. */
  send(value) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(value));
    return true;
  }
}

/** Show the states of a connection in an element; return what goes into `on.state`. A click connects now. */
export function showState(element, connection) {
  const words = {
    connecting: () => "connecting …",
    open: () => "connected",
    waiting: (seconds) => `offline, again in ${seconds} s`,
    ended: () => "refused",
  };
  element.addEventListener("click", () => connection().retry());
  return (name, seconds) => {
    element.dataset.state = name;
    element.textContent = words[name](seconds);
    element.disabled = name !== "waiting";
    element.title = name === "waiting" ? "connect now" : "";
  };
}
