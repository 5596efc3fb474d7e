// Starts endpoints without leaving the page. Without it, the forms are ordinary links.
for (const form of document.querySelectorAll("form.endpoint")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(form);
  });
}

async function start(form) {
  const output = form.querySelector("output");
  output.className = "waiting";
  output.replaceChildren("Waiting…");
  const began = performance.now();
  try {
    const response = await fetch(`${form.action}?${new URLSearchParams(new FormData(form))}`, {
      headers: { Accept: "text/plain, application/problem+json" },
    });
    const answer = await readAnswer(response);
    show(output, response.ok ? "ok" : "failed", performance.now() - began, answer);
  } catch (error) {
    show(output, "failed", performance.now() - began, `No answer: ${error.message}`);
  }
}

async function readAnswer(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("text/plain")) return response.text();
  if (!type.startsWith("application/problem+json")) return `${response.status} ${response.statusText}`;
  const problem = await response.json();
  const errors = (problem.errors ?? []).map((error) => `${error.name}: ${error.detail}`);
  return [`${problem.status} ${problem.title}`, ...(errors.length ? errors : [problem.detail])].join("\n");
}

function show(output, state, milliseconds, answer) {
  const time = document.createElement("strong");
  time.textContent = `${Math.round(milliseconds).toLocaleString("en")} ms`;
  output.className = state;
  output.replaceChildren(time, " ", answer);
}
