// Keeps pages alive: a run's page follows its events, a gate's page follows its output. Pages are whole without it.

const MAX_LOG_CHARACTERS = 4_000_000;

/** Follows server-sent events; the browser reconnects and names the last event itself. */
function follow(address, kind, onEvent, onState) {
  const source = new EventSource(address);
  source.addEventListener("open", () => onState("live"));
  source.addEventListener("error", () => onState("reconnecting"));
  source.addEventListener(kind, (event) => onEvent(JSON.parse(event.data)));
  source.addEventListener("end", () => {
    source.close();
    onState("ended");
  });
}

// Browsers open six connections to a host; one stays for the run and one for what is clicked.
const MAX_LIVE_LOGS = 4;
const MAX_LIVE_LOG_CHARACTERS = 200_000;

/** Shows the output of gates below the run for as long as they run. */
function followGates(part, place, shown) {
  for (const row of part.querySelectorAll("[data-running]")) {
    const address = row.dataset.running;
    if (shown.has(address) || shown.size >= MAX_LIVE_LOGS) continue;
    const section = document.createElement("section");
    const title = document.createElement("h2");
    title.textContent = `Output of ${row.dataset.title}`;
    const log = document.createElement("pre");
    log.className = "log live";
    log.tabIndex = 0;
    section.append(title, log);
    place.append(section);
    shown.add(address);
    follow(
      address,
      "log",
      ({ text }) => {
        const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
        log.append(text);
        while (log.textContent.length > MAX_LIVE_LOG_CHARACTERS && log.childNodes.length > 1) {
          log.firstChild.remove();
        }
        if (isAtEnd) log.scrollTop = log.scrollHeight;
      },
      (word) => {
        if (word !== "ended") return;
        section.remove();
        shown.delete(address);
        followGates(part, place, shown);
      },
    );
  }
}

function startRun(part) {
  const place = document.getElementById("live-logs");
  const shown = new Set();
  const state = document.querySelector("[data-state]");
  let waiting = false;
  let again = false;

  async function refresh() {
    if (waiting) {
      again = true;
      return;
    }
    waiting = true;
    try {
      const answer = await fetch(part.dataset.part, { credentials: "same-origin" });
      if (answer.ok) {
        replace(part, await answer.text());
        followGates(part, place, shown);
      }
    } catch {
      if (state) state.textContent = "reconnecting";
    }
    waiting = false;
    if (again) {
      again = false;
      setTimeout(refresh, 250);
    }
  }

  followGates(part, place, shown);
  follow(part.dataset.events, "change", refresh, (word) => {
    if (state) state.textContent = word;
    if (word === "ended") refresh();
  });
}

/** Puts new content in place; what had the focus, or was unfolded, stays so. */
function replace(part, html) {
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
  const closed = [...part.querySelectorAll("details:not([open])")].map((details) => details.id);
  part.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const id of closed) document.getElementById(id)?.removeAttribute("open");
  if (focused) document.getElementById(focused)?.focus();
}

function startLog(log) {
  const state = document.querySelector("[data-state]");
  const stick = document.getElementById("stick");
  const toEnd = () => {
    if (stick?.checked) log.scrollTop = log.scrollHeight;
  };
  toEnd();
  if (!log.dataset.follow) return;
  follow(
    log.dataset.follow,
    "log",
    ({ text }) => {
      log.append(text);
      while (log.textContent.length > MAX_LOG_CHARACTERS && log.childNodes.length > 1) {
        log.firstChild.remove();
      }
      toEnd();
    },
    (word) => {
      if (state) state.textContent = word;
      if (word === "ended") setTimeout(() => location.reload(), 500);
    },
  );
}

/** Fetches a part of the page again, as often as the part itself says, while somebody looks. */
function startList(list) {
  const later = () => setTimeout(refresh, 1000 * Number(list.dataset.refresh));
  async function refresh() {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { credentials: "same-origin" });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById(list.id);
        if (answer.ok && fresh) {
          replace(list, fresh.innerHTML);
          if (!fresh.dataset.refresh) return;
          list.dataset.refresh = fresh.dataset.refresh;
        }
      } catch {
        // Not reachable now: the next time tells.
      }
    }
    later();
  }
  later();
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  } catch {
    // Not allowed here: select it, so that a key does it.
    getSelection().selectAllChildren(source);
  }
}

document.documentElement.classList.add("js");
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
const run = document.querySelector("[data-events]");
if (run) startRun(run);
const list = document.querySelector("[data-refresh]");
if (list) startList(list);
const log = document.querySelector("pre.log");
if (log) startLog(log);
