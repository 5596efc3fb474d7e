// The live smoker: batches come as server-sent events. Without it, the forms are ordinary forms.
const form = document.querySelector("form.fill");
const list = document.querySelector(".batches");
const complaint = form.querySelector(".complaint");
const connection = document.querySelector(".connection");
const blank = document.querySelector("#batch").content.firstElementChild;
const token = form.elements.csrfmiddlewaretoken.value;
const unfinished = ["waiting", "smoking"];

const events = new EventSource(form.dataset.events);
events.addEventListener("open", () => say(""));
events.addEventListener("error", () => say("The connection is lost. Trying again…"));
events.addEventListener("message", (event) => show(JSON.parse(event.data)));
addEventListener("pagehide", () => events.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(form);
  const body = JSON.stringify({ meats: data.getAll("meats"), flavor: data.get("flavor") });
  await send("POST", form.dataset.api, body);
});

list.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  event.preventDefault();
  const batch = `${form.dataset.api}${button.closest(".batch").dataset.id}/`;
  if (button.classList.contains("cancel")) send("POST", `${batch}cancel/`);
  else send("DELETE", batch);
});

// What has come of it arrives as an event, here and in every other browser.
async function send(method, address, body) {
  complaint.textContent = "";
  try {
    const headers = { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": token };
    const response = await fetch(address, { method, headers, body });
    if (!response.ok) complaint.textContent = await reason(response);
  } catch (error) {
    complaint.textContent = `No answer: ${error.message}`;
  }
}

async function reason(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.startsWith("application/problem+json")) return `${response.status} ${response.statusText}`;
  const problem = await response.json();
  const errors = (problem.errors ?? []).map((error) => `${error.name}: ${error.detail}`);
  return errors.length ? errors.join("; ") : problem.detail ?? problem.title;
}

function show(changes) {
  const items = new Map([...list.children].map((item) => [item.dataset.id, item]));
  const kept = new Set(changes.batches.map((batch) => String(batch.id)));
  for (const [id, item] of items) {
    if (changes.removed.includes(Number(id)) || (changes.everything && !kept.has(id))) item.remove();
  }
  for (const batch of [...changes.batches].reverse()) {
    const item = items.get(String(batch.id)) ?? add(batch);
    if (item.dataset.status === "smoking" && batch.status === "done") say(`${capital(batch.meat)}: done.`);
    update(item, batch);
  }
}

// The newest is first: one that comes back after a pause finds its place by its number.
function add(batch) {
  const item = blank.cloneNode(true);
  const next = [...list.children].find((other) => Number(other.dataset.id) < batch.id);
  list.insertBefore(item, next ?? null);
  item.dataset.id = batch.id;
  item.querySelector(".meat").textContent = capital(batch.meat);
  item.querySelector(".flavor").textContent = batch.flavor;
  item.querySelector("progress").setAttribute("aria-label", `${capital(batch.meat)}, batch ${batch.id}`);
  for (const action of ["Cancel", "Remove"]) {
    const button = item.querySelector(`.${action.toLowerCase()}`);
    button.setAttribute("aria-label", `${action} batch ${batch.id}, ${batch.meat}`);
  }
  return item;
}

function update(item, batch) {
  const over = !unfinished.includes(batch.status);
  item.dataset.status = batch.status;
  item.querySelector("progress").value = batch.percent;
  item.querySelector("progress").textContent = item.querySelector(".percent").textContent = `${batch.percent} %`;
  item.querySelector(".stage").textContent = batch.stage;
  const [cancel, remove] = [item.querySelector(".cancel"), item.querySelector(".remove")];
  const focused = document.activeElement === cancel && over;
  cancel.hidden = over;
  remove.hidden = !over;
  if (focused) remove.focus();
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function say(text) {
  connection.textContent = text;
}
