// Makes elements from data. Text is set as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** A new element with properties such as `className` and `textContent`. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Text for screen readers only. */
export const spoken = (text) => make("span", { className: "spoken", textContent: text });

/** A function that calls `act` after `ms` milliseconds without another call; `.cancel()` drops a waiting call. */
export function afterPause(ms, act) {
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
