// A WebSocket that reconnects after a failure, with a random delay that doubles up to a minute.

const FIRST_DELAY = 0.5; // seconds
const LONGEST_DELAY = 60;
const STABLE = 5; // after a connection that was open this many seconds, start with the first delay again
const FATAL = new Set([1002, 1003, 1007, 1008, 1009]); // a fault of this page, which reconnecting does not fix

export class Reconnecting {
  /**
   * @param {string} path the path of the WebSocket, on the host of this page
   * @param {object} on callbacks: `open()`, `message(value)` with the JSON value of each message, and
   *   `state(name, seconds)` with "connecting", "open", "waiting" (for this many seconds) or "ended"
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
    // A random delay spreads the pages that reconnect after a server has restarted.
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

  /** Connect now instead of waiting for the next attempt. */
  retry() {
    if (this.timer === undefined || this.socket.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.connect();
  }

  /** Send a JSON value. Return false if there is no connection. */
  send(value) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(value));
    return true;
  }
}

/** Show the connection state in an element that connects when clicked. Return the callback for `on.state`. */
export function showState(element, connection) {
  const words = {
    connecting: () => "connecting …",
    open: () => "connected",
    waiting: (seconds) => `offline, reconnecting in ${seconds} s`,
    ended: () => "disconnected",
  };
  element.addEventListener("click", () => connection().retry());
  return (name, seconds) => {
    element.dataset.state = name;
    element.textContent = words[name](seconds);
    element.disabled = name !== "waiting";
    element.title = name === "waiting" ? "connect now" : "";
  };
}
