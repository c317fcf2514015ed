import { Reconnecting, showState } from "/reconnecting.js";

const $ = (id) => document.getElementById(id);
let connection;
let ourName;
let position = null; // of the last message, to get what we miss while we are not connected

/** Create an element. Text from other users is inserted as text, never as HTML. */
function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Return the hue for a name, always the same one. */
function hueOf(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 9973;
  return (hash * 137) % 360;
}

function avatar(name) {
  const made = element("span", "avatar", [...name][0].toUpperCase());
  made.style.setProperty("--hue", hueOf(name));
  made.setAttribute("aria-hidden", "true");
  return made;
}

function show({ name, text, at }) {
  const list = $("said");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const previous = list.lastElementChild;
  const item = element("li", name === ourName ? "ours" : "theirs");
  item.dataset.name = name;
  if (previous?.dataset.name === name) item.classList.add("again");
  const time = element("time", "", new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  const head = element("div", "head");
  head.append(element("b", "", name), time);
  const bubble = element("div", "bubble");
  bubble.append(head, element("p", "", text));
  item.append(avatar(name), bubble);
  list.append(item);
  $("empty").hidden = true;
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function showPeople(names) {
  $("people").replaceChildren(
    ...names.map((name) => {
      const item = element("li", name === ourName ? "you" : "");
      item.append(avatar(name), element("span", "", name === ourName ? `${name} (you)` : name));
      return item;
    }),
  );
}

function receive(message) {
  switch (message.type) {
    case "welcome": // also after reconnecting; without "said", we have got all that we had missed
      ourName = message.name;
      if (message.said) {
        $("said").replaceChildren();
        message.said.forEach(receive);
        $("empty").hidden = message.said.length > 0;
      }
      $("send").disabled = false;
      $("said").scrollTop = $("said").scrollHeight;
      break;
    case "said":
      position = message.position;
      show(message);
      break;
    case "people":
      showPeople(message.names);
      break;
  }
}

const shown = showState($("state"), () => connection);

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  connection = new Reconnecting("/ws", {
    open: () => connection.send({ type: "join", join: name, since: position }),
    message: receive,
    state: (state, seconds) => {
      shown(state, seconds);
      if (state !== "open") $("send").disabled = true; // the text being written stays
    },
  });
  $("join").hidden = true;
  $("say").hidden = false;
  $("text").focus();
});

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || $("send").disabled) return;
  if (connection.send({ type: "say", say: text })) $("text").value = "";
});
