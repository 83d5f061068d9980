// The curves of the last minutes, one tile each, in plain SVG.

import { bytes, draw, duration, give, make, number, rough, say } from "./text.js";

const SECONDS = 300;
const FEWEST_SECONDS = 60;
const WIDTH = 300;
const HEIGHT = 60;
// Columns of the data's rows.
const AT = 0, RATE = 1, FAILED = 2, LAG = 3, BACKLOG = 4, LOAD = 5, MEDIAN = 7, P99 = 8;

const TILES = [
  {
    title: "Throughput", column: RATE, unit: "messages/s", text: rough,
    describe: ({ row, totals }) => `${rough(row[FAILED])} failed/s · ${number(totals.in_flight)} of ${number(totals.max_in_flight)} slots busy`,
  },
  {
    title: "Latency of a message", column: MEDIAN, second: P99, unit: "median", text: duration,
    describe: ({ row }) => (row[P99] === null ? "none measured in the last second" : `99 % within ${duration(row[P99])} (dashed)`),
  },
  {
    title: "Lag", column: LAG, second: BACKLOG, unit: "not committed", text: number,
    describe: ({ row }) => (row[LAG] === null ? "no broker answers" : `${number(row[BACKLOG])} of them not finished (dashed)`),
  },
  {
    title: "Buffer: read, not finished", column: LOAD, unit: "messages", text: number, limit: ({ totals }) => totals.queue_max_messages,
    describe: ({ totals }) => `limit ${number(totals.queue_max_messages)} · ${bytes(totals.load_bytes)} of ${bytes(totals.queue_max_bytes)}`,
  },
];

export class Curves {
  constructor(parent) {
    this.rows = [];
    this.tiles = TILES.map((tile) => {
      const value = make("span");
      const note = make("p", { class: "hint" });
      const under = draw("path", { class: "under" });
      const limit = draw("line", { class: "limit", x1: 0, x2: WIDTH, visibility: "hidden" });
      const first = draw("path", { class: "curve" });
      const second = draw("path", { class: "curve second" });
      const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, under, limit, first, second);
      parent.append(make("figure", { class: "tile" }, make("figcaption", {}, tile.title),
        make("p", { class: "figure" }, value, " ", make("small", {}, tile.unit)), svg, note));
      return { ...tile, value, note, svg, under, limitLine: limit, first, secondPath: second };
    });
  }

  forget() {
    this.rows = [];
  }

  get since() {
    return this.rows.length ? this.rows[this.rows.length - 1][AT] : "";
  }

  // How much time is drawn: as much as is known, from one minute to five.
  get span() {
    const known = this.rows.length ? this.rows[this.rows.length - 1][AT] - this.rows[0][AT] : 0;
    return Math.min(SECONDS, Math.max(FEWEST_SECONDS, Math.ceil(known / FEWEST_SECONDS) * FEWEST_SECONDS));
  }

  get title() {
    const minutes = this.span / FEWEST_SECONDS;
    return minutes === 1 ? "The last minute" : `The last ${minutes} minutes`;
  }

  show(document) {
    this.rows.push(...document.moments);
    this.rows = this.rows.filter((row) => row[AT] > document.now - SECONDS && row[AT] <= document.now);
    const row = this.rows[this.rows.length - 1];
    if (row) for (const tile of this.tiles) this.#showTile(tile, row, document);
  }

  #showTile(tile, row, { now, totals }) {
    const values = this.rows.map((each) => each[tile.column]).filter((value) => value !== null);
    const high = Math.max(0, ...values);
    const low = values.length ? Math.min(...values) : 0;
    const limit = tile.limit?.({ totals });
    const seconds = tile.second === undefined ? [] : this.rows.map((each) => each[tile.second] ?? 0);
    const top = Math.max(high, ...seconds, limit && high > limit / 2 ? limit : 0, 1e-9) * 1.08;
    const y = (value) => HEIGHT - (value / top) * HEIGHT;
    say(tile.value, tile.text(row[tile.column]));
    say(tile.note, tile.describe({ row, totals, low, high }));
    give(tile.first, "d", this.#path(tile.column, now, y));
    give(tile.under, "d", this.#area(tile.column, now, y));
    if (tile.second !== undefined) give(tile.secondPath, "d", this.#path(tile.second, now, y));
    const isLimitShown = Boolean(limit) && limit <= top;
    give(tile.limitLine, "visibility", isLimitShown ? "visible" : "hidden");
    if (isLimitShown) for (const name of ["y1", "y2"]) give(tile.limitLine, name, y(limit).toFixed(1));
    give(tile.svg, "aria-label", `${tile.title}, ${this.title.toLowerCase()}: lowest ${tile.text(low)}, highest ${tile.text(high)}`);
  }

  // Runs of seconds that have a value, as "x y" points; a gap in time or in values ends a run.
  #runs(column, now, y) {
    const runs = [];
    const { span } = this;
    let last = -Infinity;
    for (const row of this.rows) {
      if (row[column] === null) { last = -Infinity; continue; }
      if (row[AT] - last > 3) runs.push([]);
      runs[runs.length - 1].push(`${(WIDTH * (1 - (now - row[AT]) / span)).toFixed(1)} ${y(row[column]).toFixed(1)}`);
      last = row[AT];
    }
    return runs;
  }

  #path(column, now, y) {
    return this.#runs(column, now, y).map((run) => `M${run.join("L")}`).join("");
  }

  #area(column, now, y) {
    const x = (point) => point.split(" ")[0];
    return this.#runs(column, now, y)
      .map((run) => `M${x(run[0])} ${HEIGHT}L${run.join("L")}L${x(run[run.length - 1])} ${HEIGHT}Z`).join("");
  }
}
