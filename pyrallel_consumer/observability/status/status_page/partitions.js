// The table of partitions, each with the picture of its gap window, and the table of the slowest keys.

import { draw, duration, give, keep, make, number, say } from "./text.js";

const LANE_HEIGHT = 20;
const BAR_HEIGHT = 15;
const LOWEST_BAR = 3;
const WARM_SECONDS = 5;
const CAUSE_SECONDS = 30;
const NOTABLE_PERCENT = 5;

// From what is well to what is not; the same order in every picture, so that the place of a lane says what it is.
const STATES = ["finished", "running", "queued", "failing", "held", "stuck"];
const MEANING = {
  running: "running", queued: "queued", failing: "failed, will be tried again",
  held: "failed its last attempt", stuck: "should have ended, still runs",
};
const LABELS = ["Lag", "Committed", "Read up to", "Gaps", "In flight", "Queued", "Held", "Last 30 s", "Reading"];
const NUMBERS = 7;
const PAUSES = {
  load: "paused: buffer full", share: "paused: share full", user: "paused by the program",
  exhausted: "paused: a message failed for good", circuit: "paused: circuit open", stopping: "stopping",
};

const name = ({ topic, partition }) => `${topic}[${partition}]`;
const isHeldBack = (each) => each.blocking_seconds >= WARM_SECONDS || each.held > 0 || each.paused_for.length > 0;

// What each partition had of each cause of slowness at the last looks: [time, seconds by cause].
const pasts = new Map();

export function forgetPartitions() {
  pasts.clear();
}

export function showPartitions(table, document, filter) {
  for (const each of document.partitions) remember(each, document.now - document.age_seconds);
  const windows = new Map((document.windows ?? []).map((window) => [name(window), window]));
  const columns = String(table.tHead.rows[0].cells.length);
  const chosen = document.partitions.filter((each) => filter === "all" || isHeldBack(each));
  keep(table, chosen, name, buildPartition, (body, each) => {
    const window = windows.get(name(each));
    give(body.querySelector(".picture"), "colspan", columns);
    updatePartition(body, each, window !== undefined && window.epoch === each.epoch ? window : undefined);
  });
  return chosen.length;
}

function remember(each, at) {
  const past = pasts.get(name(each)) ?? [];
  if (past.length && past[past.length - 1][0] > at) past.length = 0;
  past.push([at, each.slow_seconds]);
  while (past.length > 2 && past[1][0] <= at - CAUSE_SECONDS) past.shift();
  pasts.set(name(each), past);
}

// "80 % blocked, 12 % starved": the causes that took a notable part of the last seconds.
function causes(each) {
  const past = pasts.get(name(each));
  const [[since, before], [now, after]] = [past[0], past[past.length - 1]];
  if (now - since < 1.5) return "–";
  const parts = Object.keys(after).map((cause) => [Math.min(100, Math.round(((after[cause] - before[cause]) / (now - since)) * 100)), cause]);
  const notable = parts.filter(([part]) => part >= NOTABLE_PERCENT).sort(([one], [other]) => other - one);
  return notable.map(([part, cause]) => `${part} % ${cause}`).join(", ") || "at full pace";
}

function buildPartition(each) {
  const cells = LABELS.map((label, at) => make("td", { role: "cell", "data-label": label, class: at < NUMBERS ? "number" : "" }));
  const row = make("tr", { class: "numbers", role: "row" }, make("th", { scope: "row", role: "rowheader" }, name(each)), ...cells);
  return make("tbody", { role: "rowgroup" }, row, make("tr", { role: "row" }, make("td", { class: "picture", role: "cell" })));
}

function updatePartition(body, each, window) {
  const [numbers, { firstElementChild: picture }] = body.children;
  const values = [each.lag, each.committed_offset, each.fetched_offset, each.gap_count, each.in_flight, each.queued, each.held];
  values.forEach((value, at) => say(numbers.children[at + 1], number(value)));
  say(numbers.children[values.length + 1], causes(each));
  say(numbers.lastElementChild, each.paused_for.map((reason) => PAUSES[reason] ?? `paused: ${reason}`).join("; ") || "reads");
  if (window === undefined || window.buckets === 0) picture.replaceChildren();
  else updateWindow(picture.firstElementChild ?? picture.appendChild(buildWindow()), each, window);
}

function buildWindow() {
  return make("div", { class: "window" }, make("ul", { class: "lanes" }), draw("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }),
    make("p", { class: "scale" }, make("span"), make("span"), make("span")), make("p", { class: "blocks" }));
}

function updateWindow(element, partition, window) {
  const [names, svg, scale, blocks] = element.children;
  const lanes = lanesOf(window);
  keep(names, lanes, ({ state }) => state,
    ({ state }) => make("li", { class: state }, make("span", {}, state), make("b")),
    (item, { total }) => say(item.lastElementChild, number(total)));
  give(svg, "viewBox", `0 0 ${window.buckets} ${lanes.length * LANE_HEIGHT}`);
  give(svg, "height", String(lanes.length * LANE_HEIGHT));
  keep(svg, lanes, ({ state }) => state,
    ({ state }) => draw("g", { class: state }, draw("rect", { class: "track", height: 1 }), draw("path", { class: "lane" })),
    (group, lane) => {
      const ground = (lanes.indexOf(lane) + 1) * LANE_HEIGHT - 3;
      give(group.firstElementChild, "y", String(ground));
      give(group.firstElementChild, "width", String(window.buckets));
      give(group.lastElementChild, "d", bars(lane.counts, window, ground));
    });
  showScale(scale.children, partition, window);
  say(blocks, whatBlocks(partition, window));
  blocks.classList.toggle("warm", partition.blocking_seconds >= WARM_SECONDS);
}

function lanesOf(window) {
  const finished = Array.from({ length: window.buckets }, (_, at) => Math.min(window.width, window.top - window.base - at * window.width));
  for (const counts of Object.values(window.counts)) counts.forEach((count, at) => { finished[at] -= count; });
  const all = { finished, ...window.counts };
  return STATES.filter((state) => all[state] !== undefined)
    .map((state) => ({ state, counts: all[state], total: all[state].reduce((sum, count) => sum + count, 0) }))
    .filter(({ total }) => total > 0);
}

// A bar per bucket: the more of the bucket's offsets are in the state the higher, and one alone can still be seen.
function bars(counts, window, ground) {
  return counts.map((count, at) => {
    if (count === 0) return "";
    const height = (LOWEST_BAR + Math.sqrt(count / window.width) * (BAR_HEIGHT - LOWEST_BAR)).toFixed(1);
    return `M${at} ${ground}h1v-${height}h-1z`;
  }).join("");
}

function showScale([low, middle, high], partition, window) {
  say(low, `committed ${number(partition.committed_offset)}`);
  say(middle, window.width > 1 ? `a step is ${number(window.width)} offsets` : "");
  say(high, window.unseen ? `drawn up to ${number(window.top)}; ${number(window.unseen)} unfinished beyond` : `read up to ${number(window.top)}`);
}

function whatBlocks(partition, { head }) {
  if (partition.blocking_offset === null) return "Nothing blocks: all that was read is finished.";
  const age = partition.blocking_seconds >= 1 ? ` for ${duration(partition.blocking_seconds)}` : "";
  const text = `Offset ${number(partition.blocking_offset)} holds the commit back${age}`;
  if (head === null || head.offset !== partition.blocking_offset) return `${text}.`;
  return `${text}: ${MEANING[head.state]}${attempt(head)}, ${keyOf(head)}${behind(head)}.`;
}

function attempt({ attempt: count, running_seconds: seconds }) {
  if (count === null) return "";
  return ` (attempt ${count}${seconds === null ? "" : `, for ${duration(seconds)}`})`;
}

function keyOf({ order, fingerprint }) {
  if (order === "partition") return "the whole partition in order";
  return fingerprint === null ? "no key" : `key #${fingerprint}`;
}

const behind = ({ behind: count }) => (count === 0 ? "" : `, ${number(count)} behind it`);

export function showKeys(table, keys) {
  keep(table.tBodies[0], keys, (each) => `${name(each)}@${each.offset}`, buildKey, (row, each) => {
    const [read, state, , , , runs, waiting] = row.children;
    say(read, duration(each.read_seconds));
    read.classList.toggle("warm", each.read_seconds >= WARM_SECONDS);
    say(state.firstElementChild, each.state);
    give(state.firstElementChild, "class", `state ${each.state}`);
    say(runs, each.running_seconds === null ? "–" : duration(each.running_seconds) + (each.attempt > 1 ? ` (attempt ${each.attempt})` : ""));
    say(waiting, number(each.behind));
  });
}

function buildKey(each) {
  const cell = (label, kind, ...children) => make("td", { role: "cell", "data-label": label, class: kind }, ...children);
  const partition = make("th", { scope: "row", role: "rowheader", "data-label": "Partition" }, name(each));
  return make("tr", { role: "row" }, cell("Read ago", "number"), cell("State", "", make("span")), partition,
    cell("Offset", "number", number(each.offset)), cell("Key", "", keyOf(each).replace(/^key /, "")),
    cell("Runs for", "number"), cell("Behind it", "number"));
}
