// Words and numbers as people read them, and small pieces of the page. Text only ever enters the page as text.

const NUMBER = new Intl.NumberFormat("en");
const ROUGH = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const number = (value) => (value === null ? "unknown" : NUMBER.format(value));
export const rough = (value) => (value >= 1000 ? NUMBER.format(Math.round(value)) : ROUGH.format(value));

export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${rough(seconds * 1e6)} µs`;
  if (seconds < 1) return `${rough(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function bytes(value) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${rough(value)} ${units[at]}`;
}

// Sets only what changed: a screen reader's place and a selection survive an update that says the same.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function give(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Has `parent` show one child per item, in this order, keeping those that are there already.
export function keep(parent, items, keyOf, build, update) {
  const old = new Map([...parent.children].filter((child) => child.dataset.key !== undefined)
    .map((child) => [child.dataset.key, child]));
  let place = [...parent.children].find((child) => child.dataset.key !== undefined) ?? null;
  for (const item of items) {
    const key = keyOf(item);
    let child = old.get(key);
    old.delete(key);
    if (child === undefined) {
      child = build(item);
      child.dataset.key = key;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  for (const child of old.values()) child.remove();
}
