"use strict";

const NAMES = { "abnormal": "abnormal", "cannot-tell": "cannot tell", "failed": "failed", "normal": "normal" };
const find = (id) => document.getElementById(id);
const read = () => JSON.parse(find("data").textContent);

/** A number with four significant digits, as a reader wants to see it; a dash for none. */
function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "\u2013";
  const size = Math.abs(value);
  let text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(digits - 2) : value.toPrecision(digits);
  // A reader wants 1235, not 1.23e+3.
  if (text.includes("e") && size >= 1 && size < 1e6) text = value.toFixed(0);
  if (text.includes(".") && !text.includes("e")) text = text.replace(/\.?0+$/, "");
  return text.replaceAll("-", "\u2212");
}

/** As many digits as tell two numbers apart, at least `least`. */
function apart(one, other, least = 4) {
  let digits = least;
  while (digits < 9 && one !== other && number(one, digits) === number(other, digits)) digits++;
  return digits;
}

const count = (value) => value.toLocaleString("en");
const counted = (value, one, several) => count(value) + " " + (value === 1 ? one : several);

/** An element with attributes and children; texts become text, whatever they contain. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const badge = (status) => make("span", { class: "badge " + status }, NAMES[status]);
