// Asks for the consumer's data once a second while somebody can see the page, and shows it. No page, no questions.

import { Curves } from "./curves.js";
import { batchFacts, brokerFacts, recordFacts, sinceStart, transactionFacts } from "./facts.js";
import { forgetPartitions, showKeys, showPartitions } from "./partitions.js";
import { duration, give, keep, make, number, say } from "./text.js";
import { showFailures } from "./failures.js";

const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const SECONDS_BETWEEN = isCalm ? 5 : 1;
const SOON_SECONDS = 0.2;
const LONGEST_WAIT_SECONDS = 10;
const STALE_SECONDS = 2;

const part = (id) => document.getElementById(id);
const curves = new Curves(part("tiles"));
const MARKS = { ok: ["✓", "well"], look: ["!", "worth a look"], bad: ["✕", "bad"] };

let timer = null;
let asking = null;
let failures = 0;
let shown = null;

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const mine = asking = new AbortController();
  const patience = setTimeout(() => mine.abort(), LONGEST_WAIT_SECONDS * 1000);
  let wait = SECONDS_BETWEEN;
  try {
    const query = new URLSearchParams({ consumer: part("chooser").value, since: curves.since });
    const answer = await fetch(`status.json?${query}`, { signal: mine.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    const data = await answer.json();
    if (mine !== asking) return;
    failures = 0;
    show(data);
    if (data.windows === null && data.partitions?.length) wait = SOON_SECONDS;
  } catch (error) {
    if (mine !== asking) return;
    failures += 1;
    wait = Math.min(SECONDS_BETWEEN * 2 ** (failures - 1), LONGEST_WAIT_SECONDS);
    showUnreachable(error);
  } finally {
    clearTimeout(patience);
    if (mine === asking) {
      asking = null;
      if (isAwake()) timer = setTimeout(ask, wait * 1000);
    }
  }
}

const isHeld = () => part("hold").getAttribute("aria-pressed") === "true";
const isAwake = () => !document.hidden && !isHeld();

function forget() {
  curves.forget();
  forgetPartitions();
}

function rest() {
  clearTimeout(timer);
  asking?.abort();
  asking = null;
}

function show(data) {
  if (shown !== null && shown !== data.consumer) {
    forget();
    if (data.consumer !== undefined) { shown = data.consumer; ask(); return; }
  }
  shown = data.consumer ?? null;
  part("unreachable").hidden = true;
  showChooser(data);
  if (shown === null) {
    part("outage").hidden = true;
    showVerdict({ level: "bad", headline: "No consumer runs in this process any more.", reasons: [] });
    return;
  }
  showVerdict(data.verdict);
  part("outage").hidden = data.totals.is_broker_connected;
  showIdentity(data);
  showAge(data.age_seconds);
  curves.show(data);
  say(part("pace-title"), curves.title);
  showTables(data);
  showFailures(part("failures"), data.failures);
  part("failures").hidden = data.failures.length === 0;
  say(part("failures-note"), data.failures.length ? "" : "No attempt has failed since the start.");
  showFacts(part("broker"), brokerFacts(data.broker));
  showPart("batches", data.batches, batchFacts);
  showPart("records", data.records, recordFacts);
  showPart("transactions", data.transactions, transactionFacts);
  showFacts(part("since"), sinceStart(data.totals));
  showFacts(part("settings"), Object.entries(data.settings));
}

function showChooser({ consumers, consumer }) {
  part("chooser-label").hidden = consumers.length < 2;
  const chooser = part("chooser");
  const named = [...chooser.options].map((option) => option.value);
  if (named.join("\n") !== consumers.join("\n")) {
    chooser.replaceChildren(...consumers.map((each) => make("option", { value: each }, each)));
    chooser.value = consumer ?? "";
  }
}

function showVerdict({ level, headline, reasons }) {
  give(part("verdict"), "class", level);
  say(part("headline"), headline);
  document.title = `${MARKS[level][0]} ${headline} – Pyrallel Consumer`;
  speak(headline);
  keep(part("reasons"), reasons.map((reason, at) => ({ ...reason, at })), ({ at }) => String(at),
    () => make("li", {}, make("span", { class: "mark", role: "img" }), make("span")),
    (item, reason) => {
      const [mark, word] = MARKS[reason.level];
      give(item, "class", reason.level);
      say(item.firstElementChild, mark);
      give(item.firstElementChild, "aria-label", word);
      say(item.lastElementChild, reason.text);
    });
}

// Only a verdict of another kind is spoken, not every new number in it.
function speak(headline) {
  const kind = headline.replace(/[\d.,]+/g, "");
  if (part("spoken").dataset.kind === kind) return;
  part("spoken").dataset.kind = kind;
  say(part("spoken"), headline);
}

function showAge(seconds) {
  say(part("age"), isHeld() ? "updates are paused" : seconds > STALE_SECONDS ? `picture is ${duration(seconds)} old` : "live");
}

function showTables(data) {
  const table = part("partitions");
  const count = showPartitions(table, data, part("filter").value);
  const notes = [];
  if (data.partitions.length === 0) notes.push("No partition is assigned to this consumer.");
  else if (count === 0) notes.push(`None of the ${number(data.partitions.length)} partitions is held back.`);
  if (data.left_out) notes.push(`Pictures are drawn of the partitions that are blocked for longest; ${number(data.left_out)} have none.`);
  say(part("partitions-note"), notes.join(" "));
  table.dataset.windows = data.windows === null ? "none" : String(data.windows.length);
  if (data.keys !== null) {
    showKeys(part("keys"), data.keys);
    part("keys").hidden = data.keys.length === 0;
    say(part("keys-note"), data.keys.length ? "" : "Nothing is unfinished.");
  }
}

// Among several members the consumer's name is the member's, and its group has a name of its own.
function showIdentity({ consumer, group, identity, settings, totals }) {
  const { host, pid, worker, version, up_seconds: up } = identity;
  const name = group ? `${group} · ${consumer}` : consumer;
  say(part("who"), `group ${name} · ${settings.topic} · ${settings.mode} workers · ${totals.state}`);
  say(part("where"), `worker ${worker} · host ${host} · pid ${pid} · version ${version} · up for ${duration(up)}`);
}

// A section that only consumers have that use what it is about.
function showPart(id, figures, factsOf) {
  part(`${id}-section`).hidden = figures === null;
  if (figures !== null) showFacts(part(id), factsOf(figures));
}

function showFacts(list, facts) {
  keep(list, facts, ([label]) => label, ([label]) => make("div", {}, make("dt", {}, label), make("dd")),
    (item, [, value, isBad]) => {
      say(item.lastElementChild, value);
      item.lastElementChild.classList.toggle("warm", isBad === true);
    });
}

function showUnreachable(error) {
  const banner = part("unreachable");
  if (failures < 2 && shown !== null) return;
  const text = `The consumer’s endpoint does not answer (${error.name === "AbortError" ? "no answer in time" : error.message}). What is below is the last that was heard.`;
  banner.hidden = false;
  say(banner, text);
  say(part("age"), "not reachable");
}

document.addEventListener("visibilitychange", () => (isAwake() ? ask() : rest()));
part("hold").addEventListener("click", () => {
  give(part("hold"), "aria-pressed", String(!isHeld()));
  if (isAwake()) ask(); else { rest(); showAge(0); }
});
part("chooser").addEventListener("change", () => { forget(); shown = null; ask(); });
part("filter").addEventListener("change", ask);
if (isAwake()) ask();
