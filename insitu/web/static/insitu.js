// A little help where JavaScript runs; every page works without it.
"use strict";

// The list of what is wrong takes the focus, so that it is read first.
document.querySelector("[data-focus]")?.focus();

const form = document.getElementById("answers");
// What was typed here and sent is known to the server once another page has come.
const KEY = "insitu:";
for (const key of Object.keys(sessionStorage)) {
  if (key.startsWith(KEY) && key !== KEY + form?.dataset.checkpoint && JSON.parse(sessionStorage[key]).sent) sessionStorage.removeItem(key);
}
if (form) fillIn(form);

function fillIn(form) {
  const address = form.dataset.checkpoint, key = KEY + address, status = document.getElementById("saved");
  const fields = document.getElementById("fields");
  let timer = 0, turn = 0;
  document.querySelectorAll("[data-no-script]").forEach((one) => one.remove());

  const typed = () => [...new FormData(form)].filter(([name, value]) => name.startsWith("f-") && typeof value === "string");
  const keep = (sent) => sessionStorage.setItem(key, JSON.stringify({ at: Date.now(), sent, typed: typed() }));
  const say = (text, link) => {
    status.textContent = text;
    if (!link) return;
    const a = document.createElement("a");
    a.href = link;
    a.textContent = form.dataset.signIn;
    status.append(" ", a);
  };

  // Send what is typed to a part of the page; files only when they are meant.
  async function send(part, act, files) {
    const content = new FormData(form), mine = ++turn;
    for (const [name, value] of [...content]) if (value instanceof File && (!files || !value.size)) content.delete(name);
    if (act) content.set("act", act);
    try {
      const answer = await fetch(`${address}/${part}`, { method: "POST", body: content, headers: { "x-part": part } });
      if (answer.status === 401) {
        const { saved, to } = await answer.json();
        say(saved, to);
        return null;
      }
      if (!answer.ok) throw answer.status;
      if (mine === turn) sessionStorage.removeItem(key);
      return mine === turn ? answer : null;
    } catch {
      say(form.dataset.failed);
      return null;
    }
  }

  async function save() {
    const answer = await send("draft");
    if (answer) say((await answer.json()).saved);
  }

  // Put the fields that apply now in place, and stay where the person was.
  async function redraw(act, focus) {
    const before = JSON.stringify(typed()), answer = await send("fields", act, true);
    if (!answer) return;
    const html = await answer.text();
    // Whoever typed on meanwhile loses nothing: once more.
    if (before !== JSON.stringify(typed())) return redraw(act, focus);
    const at = document.activeElement, id = at && fields.contains(at) ? at.id : "";
    fields.innerHTML = html;
    (document.getElementById(focus) || document.getElementById(id))?.focus();
    say(decodeURIComponent(answer.headers.get("x-saved") || ""));
  }

  form.addEventListener("input", () => {
    keep();
    clearTimeout(timer);
    timer = setTimeout(save, 1200);
  });
  form.addEventListener("change", (event) => {
    if (event.target.type === "file" ? event.target.files.length : event.target.closest("[data-decides]")) {
      clearTimeout(timer);
      redraw();
    }
  });
  form.addEventListener("submit", () => {
    clearTimeout(timer);
    turn++;
    keep(true);
  });

  // Rows of tables, without waiting for the server.
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-add], [data-remove]");
    if (!button) return;
    event.preventDefault();
    const table = button.closest("[data-table]");
    if (button.matches("[data-add]")) {
      const rows = table.querySelector("tbody"), number = Date.now() % 1000000;
      rows.insertAdjacentHTML("beforeend", table.querySelector("template").innerHTML.replaceAll("__row__", number));
      const row = rows.lastElementChild;
      row.querySelectorAll("[aria-label]").forEach((one) => one.setAttribute("aria-label", one.getAttribute("aria-label").replace(number, rows.children.length)));
      row.querySelector("input, select, textarea")?.focus();
    } else {
      button.closest("tr").remove();
      table.querySelector("[data-add]").focus();
      form.dispatchEvent(new Event("input"));
    }
  });

  // What this window kept and the server has not: put it back.
  const kept = JSON.parse(sessionStorage[key] || "null");
  if (!kept) return;
  const known = Date.parse(form.dataset.savedAt || 0) > kept.at;
  if ("kept" in form.dataset || known) return sessionStorage.removeItem(key);
  for (const one of form.querySelectorAll("[name^='f-'][type=radio], [name^='f-'][type=checkbox]")) one.checked = false;
  for (const [name, value] of kept.typed) {
    for (const one of form.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
      if (one.type === "radio" || one.type === "checkbox") one.checked ||= one.value === value;
      else if (one.type !== "file") one.value = value;
    }
  }
  redraw().then(() => say(form.dataset.unsaved));
}
