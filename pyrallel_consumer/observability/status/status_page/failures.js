// The table of failures by the type of their error.

import { duration, give, keep, make, number, say } from "./text.js";

const LABELS = ["Error type", "Failed attempts", "Messages given up", "Latest", "Partition", "Offset"];

export function showFailures(table, failures) {
  keep(table.tBodies[0], failures, ({ type }) => type, buildFailure, updateFailure);
}

function buildFailure({ type }) {
  const cells = LABELS.slice(1).map((label) => make("td", { role: "cell", "data-label": label, class: label === "Partition" ? "" : "number" }));
  return make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader", "data-label": LABELS[0] }, type), ...cells);
}

function updateFailure(row, failure) {
  const { attempts, given_up: givenUp, ago_seconds: ago, topic, partition, offset } = failure;
  const texts = [number(attempts), number(givenUp), ago < 1 ? "just now" : `${duration(ago)} ago`, `${topic}[${partition}]`, number(offset)];
  texts.forEach((text, at) => say(row.children[at + 1], text));
  give(row.children[2], "class", givenUp > 0 ? "number warm" : "number");
}
