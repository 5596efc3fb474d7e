// Keeps the page live: its parts come as server-sent events. Without it, the page is what it was
// when it was loaded.
const live = document.querySelector(".live");
const waiting = new Map();
const events = new EventSource(document.body.dataset.events);

events.addEventListener("open", () => (live.textContent = "Live"));
events.addEventListener("message", (event) => {
  const { name, html } = JSON.parse(event.data);
  waiting.set(name, html);
  show();
});
events.addEventListener("error", () => {
  live.textContent = events.readyState === EventSource.CLOSED
    ? "Not live any more: load the page again"
    : "The connection is lost. Trying again…";
});
addEventListener("pagehide", () => events.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());
document.addEventListener("pointerup", () => setTimeout(show));
document.addEventListener("selectionchange", () => isSelected(document.body) || show());

function show() {
  for (const [name, html] of waiting) {
    const part = document.getElementById(name);
    if (part.matches(":active") || isSelected(part)) continue; // a click or a selection would be lost
    waiting.delete(name);
    replace(part, html);
  }
}

function replace(part, html) {
  const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
  const focused = part.contains(document.activeElement) ? document.activeElement.closest("[id]") : null;
  const inside = focused && document.activeElement !== focused ? document.activeElement.localName : null;
  part.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused && focused !== part) {
    const again = document.getElementById(focused.id);
    (inside ? again?.querySelector(inside) : again)?.focus({ preventScroll: true });
  }
}

function isSelected(part) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(part, true);
}
