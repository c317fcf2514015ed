import { Reconnecting, showState } from "/reconnecting.js";

const SHOWN = 120; // samples
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
let samples = [];
let connection;

/** A chart drawn in the unit square; CSS sets its size and colours. */
class Chart {
  constructor(card) {
    this.field = card.dataset.field;
    this.digits = Number(card.dataset.digits);
    this.least = Number(card.dataset.least);
    this.output = card.querySelector("output");
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 1 1");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${card.querySelector("h2").textContent} over time`);
    this.area = document.createElementNS(SVG, "path");
    this.line = document.createElementNS(SVG, "path");
    this.area.setAttribute("class", "area");
    this.line.setAttribute("class", "line");
    svg.append(this.area, this.line);
    this.scale = document.createElement("span");
    this.scale.className = "scale";
    const figure = document.createElement("figure");
    figure.append(svg, this.scale);
    card.append(figure);
  }

  draw() {
    const values = samples.map((sample) => sample[this.field]);
    const top = niceAbove(Math.max(this.least, ...values));
    const last = values.at(-1);
    this.output.textContent = last === undefined ? "–" : format(last, this.digits);
    this.scale.textContent = format(top, 0);
    if (values.length < 2) return;
    const left = SHOWN - values.length;
    const points = values.map((value, index) => `${(left + index) / (SHOWN - 1)} ${1 - (0.96 * value) / top}`);
    this.line.setAttribute("d", `M${points.join("L")}`);
    this.area.setAttribute("d", `M${left / (SHOWN - 1)} 1L${points.join("L")}L1 1Z`);
  }
}

function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function format(value, digits) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function showClients(clients) {
  $("clients").replaceChildren(
    ...clients.map((client) => {
      const row = document.createElement("tr");
      const since = new Date(client.since * 1000).toLocaleTimeString();
      const latency = client.latency === null ? "–" : `${format(client.latency * 1000, 1)} ms`;
      for (const text of [client.number, client.agent, since, format(client.messages, 0), latency]) {
        const cell = document.createElement("td");
        cell.textContent = text; // data from a client is text, never HTML
        row.append(cell);
      }
      return row;
    }),
  );
}

const charts = [...document.querySelectorAll(".card")].map((card) => new Chart(card));

function receive(message) {
  if (message.type === "history") samples = message.samples;
  else if (message.type === "sample") {
    samples.push(message.sample);
    showClients(message.clients);
  } else return;
  samples.splice(0, samples.length - SHOWN);
  for (const chart of charts) chart.draw();
}

const shown = showState($("state"), () => connection);
connection = new Reconnecting("/ws", {
  open: () => {},
  message: receive,
  state: (state, seconds) => {
    shown(state, seconds);
    document.body.classList.toggle("stale", state !== "open");
    $("load").disabled = state !== "open";
  },
});

$("load").addEventListener("click", () => {
  for (let number = 0; number < 1000; number++) connection.send(`message ${number}`);
});
