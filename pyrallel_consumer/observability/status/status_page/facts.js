// Figures with their labels, in the order in which the page shows them: [label, text, whether it is bad].

import { duration, number } from "./text.js";

const milliseconds = (value) => (value === null ? "–" : duration(value / 1000));

export function brokerFacts(broker) {
  const state = broker.is_connected ? "answers" : `no answer for ${duration(broker.silent_seconds)}`;
  const facts = [
    ["state", state, !broker.is_connected],
    ["group protocol", broker.group_protocol || "unknown"],
    ["rebalances", number(broker.rebalances) + (broker.is_rebalancing ? ", one under way" : "")],
    ["commits", number(broker.commits)],
    ["a commit takes, on average", milliseconds(broker.commit_mean_ms)],
    ["commit failures", number(broker.commit_failures), broker.commit_failures > 0],
  ];
  const errors = Object.entries(broker.errors).sort(([, one], [, other]) => other - one);
  if (errors.length === 0) facts.push(["client errors", "0"]);
  return [...facts, ...errors.map(([code, count]) => [`client errors ${code}`, number(count)])];
}

export function batchFacts(batches) {
  return [
    ["batches", number(batches.batches)],
    ["messages in a batch, on average", `${number(batches.mean_size)} of ${number(batches.size_limit)}`],
    ["a batch waits, on average", milliseconds(batches.mean_wait_ms)],
    ["failed batches that were searched", number(batches.searches)],
    ["worker calls of these searches", number(batches.search_calls)],
  ];
}

export function recordFacts(records) {
  return [
    ["delivery", records.delivery.replaceAll("_", " ")],
    ["written", number(records.written)],
    ["waiting", number(records.waiting)],
    ["messages whose record was refused", number(records.refused), records.refused > 0],
  ];
}

export function transactionFacts(transactions) {
  return [
    ["committed", number(transactions.committed)],
    ["aborted", number(transactions.aborted), transactions.aborted > 0],
    ["records written again", number(transactions.rewritten)],
    ["open for", transactions.open_seconds ? duration(transactions.open_seconds) : "none is open"],
  ];
}

export function sinceStart(totals) {
  const facts = [
    ["processed", number(totals.processed)],
    ["failed permanently", number(totals.failed)],
    ["retries", number(totals.retries)],
    ["timeouts", number(totals.timeouts)],
    ["completions of earlier assignments", number(totals.fenced_completions)],
    ["event loop blocked", number(totals.blocked_loops), totals.blocked_loops > 0],
  ];
  if (totals.on_exhausted === "dlq") {
    facts.push(["dead letters sent", number(totals.letters_sent)], ["dead letters waiting", number(totals.letters_waiting)]);
  }
  return facts;
}
