// SPDX-License-Identifier: GPL-2.0-or-later
// The table of connections: it sorts, searches, filters and turns pages; a row opens its ladder.
// A browser without scripts shows the same table as it is. Here it is text first, and no element but the rows that are shown is laid out.
const { failed, mark, words } = JSON.parse(document.getElementById("data").textContent);

const START = 0, END = 1, HANDSHAKE = 2, SEGMENTS = 3, BYTES = 4;
const PINNED = 3;
const SHOWN_ON_PHONES = ["number", "client", "server", "establishment", "handshake", "termination", "diagnosis"];
const FEW = 10;

const place = document.getElementById("live");
const inert = document.createElement("template");
inert.innerHTML = document.querySelector("#connections noscript").textContent;
const table = inert.content.getElementById("table"), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
const scroller = table.parentElement;
const names = heads.map((head) => head.dataset.column);
const at = Object.fromEntries(names.map((name, column) => [name, column]));

class Row {
    #cells;
    #numbers;

    constructor(element, index) {
        Object.assign(this, { element, index, detail: null });
    }

    get cells() {
        if (!this.#cells) {
            this.#cells = Array.from(this.element.cells, (cell) => cell.textContent);
            this.#cells[at.establishment] = this.#cells[at.establishment].replace(`${mark} `, "");
        }
        return this.#cells;
    }

    text(name) {
        return this.cells[at[name]];
    }

    get numbers() {
        return (this.#numbers ??= this.element.dataset.n.split(",").map((text) => (text === "" ? null : Number(text))));
    }
}

const rows = Array.from(body.children, (element, index) => new Row(element, index));
body.replaceChildren();
place.append(scroller);
place.hidden = false;

const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
};

// Make an element a button: for the pointer, and for Enter and the space bar.
const pressable = (element, action) => {
    element.setAttribute("role", "button");
    element.setAttribute("tabindex", "0");
    element.addEventListener("click", (event) => {
        event.stopPropagation();
        if (!getSelection().toString()) action();
    });
    element.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        action();
    });
};

// Which rows are shown: those that match all filters and all words of the search.

const address = (endpoint) => endpoint.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
const VALUES = {
    stream: (row) => [Number(row.text("number"))],
    anomalies: (row) => row.text("anomalies").split(", "),
    client: (row) => [address(row.text("client"))],
    reset: (row) => [row.element.dataset.reset],
};
const valuesOf = (name, row) => VALUES[name]?.(row) ?? [row.text(name)];
const RANGES = { start: START, end: END, handshake: HANDSHAKE };

// Return the function that says whether a row has one of the wanted values, or a number between the two.
const condition = ([name, wanted]) => {
    if (name in RANGES) {
        const [low, high] = wanted;
        return ({ numbers: { [RANGES[name]]: number } }) => number !== null && number >= low && number < high;
    }
    const any = new Set(wanted);
    return (row) => valuesOf(name, row).some((value) => any.has(value));
};

const searched = (row) => {
    const opening = row.text("establishment");
    const more = failed.includes(opening) ? [...words.failed, words.kinds[opening]] : [];
    return (row.searched ??= [...row.cells, ...more].join(" ").toLowerCase());
};

// What is asked for

let filters = [], order = null, first = 0, length = 25, found = rows;

const compare = new Intl.Collator(undefined, { numeric: true }).compare;
const SORTED_BY = {
    number: (row) => row.index,
    start: (row) => row.numbers[START],
    lasts: (row) => row.numbers[END] - row.numbers[START],
    handshake: (row) => row.numbers[HANDSHAKE],
    segments: (row) => row.numbers[SEGMENTS],
    bytes: (row) => row.numbers[BYTES],
};

const sort = () => {
    if (!order) return;
    const value = SORTED_BY[names[order.column]] ?? ((row) => row.cells[order.column] || null);
    const sign = order.down ? -1 : 1;
    const keyed = found.map((row) => [value(row), row]);
    keyed.sort(([a, one], [b, other]) => {
        if (a === null || b === null) return (a === null) - (b === null) || one.index - other.index;
        return sign * (typeof a === "number" ? a - b : compare(a, b)) || one.index - other.index;
    });
    found = keyed.map(([, row]) => row);
};

const update = () => {
    const conditions = filters.flatMap(({ pick }) => Object.entries(pick)).map(condition);
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter(
        (row) => conditions.every((holds) => holds(row)) && wanted.every((word) => searched(row).includes(word)),
    );
    sort();
    first = 0;
    draw();
};

// What is drawn

const PICKED = ["client", "server", "server_name", "establishment", "termination", "closed_by", "diagnosis", "anomalies"];

const ready = (row) => {
    if (row.ready) return;
    row.ready = true;
    const { element, cells } = row;
    element.tabIndex = 0;
    element.setAttribute("aria-label", `${words.open} ${cells[0]}`);
    element.setAttribute("aria-expanded", "false");
    element.cells[0].textContent = cells[0];
    for (const name of PICKED) {
        const cell = element.cells[at[name]];
        if (!cell?.textContent) continue;
        const [value, ...others] = valuesOf(name, row);
        const contents = others.length ? [value] : cell.childNodes;
        cell.replaceChildren(filterButton(name, value, ...contents), ...others.flatMap((other) => [", ", filterButton(name, other, other)]));
    }
};

const filterButton = (name, value, ...nodes) => {
    const element = made("span", { className: "pick" }, ...nodes);
    element.dataset.pick = JSON.stringify({ [name]: [value] });
    element.dataset.label = `${heads[at[name]].textContent}: ${value}`;
    pickable(element);
    return element;
};

const draw = () => {
    const shown = found.slice(first, first + length);
    shown.forEach(ready);
    body.replaceChildren(...shown.flatMap((row) => (row.detail ? [row.element, row.detail] : [row.element])));
    if (!shown.length) {
        const cell = made("td", { colSpan: heads.length, className: "muted" }, words.no_match);
        body.append(made("tr", {}, cell));
    }
    const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name].toLocaleString("en"));
    info.textContent = filled(words.range, { first: shown.length ? first + 1 : 0, last: first + shown.length, number: found.length });
    if (found.length < rows.length) info.textContent += ` ${filled(words.of_all, { all: rows.length })}`;
    previous.disabled = first === 0;
    next.disabled = first + length >= found.length;
    for (const [column, head] of heads.entries()) {
        if (order?.column === column) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
    }
    chips.hidden = !filters.length;
    chips.replaceChildren(`${words.filtered} `, ...filters.map(chip), button(words.all, () => set([])));
    for (const element of document.querySelectorAll(".pick[role]"))
        element.setAttribute("aria-pressed", filters.some(({ key }) => key === element.dataset.pick));
    for (const range of ranges) range.shade(filters.find((filter) => filter.range === range)?.places);
    pin();
};

// The client and the server stay in sight while the other columns scroll.

const pin = () => {
    let left = 0;
    for (let column = 0; column < PINNED; column++) {
        table.style.setProperty(`--pin-${column + 1}`, `${left}px`);
        left += heads[column].offsetWidth;
    }
    table.style.setProperty("--width", `${scroller.clientWidth}px`);
    table.classList.toggle("wide", table.offsetWidth > scroller.clientWidth + 1);
};
addEventListener("resize", pin);

// The controls

const button = (text, action, title = "") => {
    const element = made("button", { type: "button", title, textContent: text });
    element.addEventListener("click", action);
    return element;
};

const search = made("input", { type: "search", autocomplete: "off" });
search.addEventListener("input", update);
const info = made("span", { className: "info" });
info.setAttribute("aria-live", "polite");
const turn = (by) => () => {
    first += by * length;
    draw();
};
const previous = button("‹", turn(-1), words.previous), next = button("›", turn(1), words.next);
const lengths = made("select", {}, ...[25, 100, 1000].map((number) => made("option", { textContent: number })));
lengths.addEventListener("change", () => {
    length = Number(lengths.value);
    first -= first % length;
    draw();
});
const chips = made("p", { className: "picked", hidden: true });
chips.setAttribute("aria-live", "polite");

const hidden = made("style");
document.head.append(hidden);
const boxes = heads.map((head, column) => {
    const box = made("input", { type: "checkbox" });
    box.checked = SHOWN_ON_PHONES.includes(names[column]) || innerWidth >= 600;
    box.addEventListener("change", choose);
    return box;
});
const count = made("span");
function choose() {
    hidden.textContent = boxes
        .map((box, column) => (box.checked ? "" : `#table>*>tr:not(.detail)>:nth-child(${column + 1}){display:none}`))
        .join("");
    count.textContent = ` ${boxes.filter((box) => box.checked).length}/${boxes.length}`;
    pin();
}
const columns = made(
    "details",
    { className: "columns" },
    made("summary", {}, words.columns, count),
    made("div", {}, ...boxes.map((box, column) => made("label", {}, box, ` ${heads[column].textContent}`)).slice(PINNED)),
);

const pages = [made("label", {}, lengths, ` ${words.per_page}`), made("span", { className: "turn" }, previous, info, next)];
place.prepend(
    chips,
    made("div", { className: "controls" }, made("label", { hidden: rows.length <= FEW }, `${words.search} `, search), columns),
);
place.append(made("div", { className: "controls", hidden: rows.length <= FEW }, ...pages));

heads.forEach((head, column) => {
    const sorter = made("span", { className: "sorter" }, ...head.childNodes); // Chromium prints heads with <button> on the first page only
    pressable(sorter, () => {
        order = order?.column !== column ? { column, down: false } : order.down ? null : { column, down: true };
        update();
    });
    head.append(sorter);
});

// A row opens the ladder of its connection.

const detail = ({ cells }) => {
    const drawn = document.getElementById(`ladder-${cells[0]}`);
    const inside = made("div");
    if (drawn) {
        inside.append(...drawn.cloneNode(true).children);
        inside.querySelector('a[href^="#row-"]')?.remove();
    } else {
        const command = made("code", { className: "copy", textContent: `pybridge ladder FILE ${cells[0]} -o ladder.svg` });
        inside.append(`${words.not_drawn} `, command);
    }
    return made("tr", { className: "detail" }, made("td", { colSpan: heads.length }, inside));
};

const toggle = (row, open = !row.detail) => {
    row.detail?.remove();
    row.detail = open ? detail(row) : null;
    if (open) row.element.after(row.detail);
    row.element.classList.toggle("open", open);
    row.element.setAttribute("aria-expanded", open);
};

const byElement = new Map(rows.map((row) => [row.element, row]));
const rowOf = (event) => byElement.get(event.target.closest("tr"));
body.addEventListener("click", (event) => {
    const row = rowOf(event);
    if (row && !getSelection().toString()) toggle(row);
});
body.addEventListener("keydown", (event) => {
    if ((event.key !== "Enter" && event.key !== " ") || !byElement.has(event.target)) return;
    event.preventDefault();
    toggle(byElement.get(event.target));
});

// A link to a row turns to the page that has the row.

const follow = () => {
    const row = location.hash.startsWith("#row-") && rows.find(({ element }) => `#${element.id}` === location.hash);
    if (!row) return;
    search.value = "";
    set([]);
    first = Math.floor(found.indexOf(row) / length) * length;
    draw();
    toggle(row, true);
    row.element.scrollIntoView();
    row.element.focus({ preventScroll: true });
};
addEventListener("hashchange", follow);
addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#row-"]');
    if (link && link.hash === location.hash) follow();
});

// Bars, legends and counts filter the table. A choice on the page replaces the one before; one in the table narrows it, and so
// does a range that was drawn on a chart.

const set = (chosen) => {
    filters = chosen;
    update();
};

const chip = (filter) =>
    button(`${filter.label} ×`, () => set(filters.filter((other) => other !== filter)), words.remove);

const choosePick = (element) => {
    const key = element.dataset.pick;
    const label = element.dataset.label ?? element.textContent.trim();
    const others = filters.filter((filter) => filter.key !== key);
    if (others.length < filters.length) return set(others);
    const inTable = table.contains(element), pick = JSON.parse(key);
    const kept = inTable ? others : others.filter(({ range }) => range && !(range.name in pick));
    set([...kept, { key, label, pick }]);
    if (!inTable) document.getElementById("connections").scrollIntoView();
};

function pickable(element) {
    pressable(element, () => choosePick(element));
}
document.querySelectorAll(".pick").forEach(pickable);

// What a bar or point of a chart stands for is shown at once, and not after the second that browsers take for a <title>.

const tip = made("div", { className: "tip", hidden: true });
document.body.append(tip);
const showTip = ({ type, target, clientX, clientY }) => {
    const mark = target.closest?.("svg.chart [aria-label]");
    tip.hidden = !mark || type === "focusout";
    if (tip.hidden) return;
    tip.textContent = mark.getAttribute("aria-label");
    const box = mark.getBoundingClientRect();
    const [x, y] = type === "focusin" ? [box.right, box.top] : [clientX, clientY];
    tip.style.left = `${Math.max(0, Math.min(x + 12, document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, y - tip.offsetHeight - 8)}px`;
};
for (const title of document.querySelectorAll("svg.chart title")) {
    title.parentElement.setAttribute("aria-label", title.textContent);
    if (title.parentElement.dataset.pick) title.parentElement.dataset.label = title.textContent;
    title.remove();
}
for (const type of ["pointermove", "focusin", "focusout"]) addEventListener(type, showTip);
addEventListener("scroll", () => (tip.hidden = true), { passive: true });

document.querySelector(".hint")?.removeAttribute("hidden");

// A range that is drawn on a chart with the pointer filters, and stays shaded.

const DRAWN = 5; // units from which on it is no click
const UNITS = [[3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const DAYS = 60 * 86400;
const ranges = [];

const moment = (seconds, { first, low, high }) => {
    if (first !== null) {
        const text = new Date((first + seconds) * 1000).toISOString();
        return high - low < DAYS ? text.slice(5, 16).replace("T", " ") : text.slice(0, 10);
    }
    const [factor, unit] = UNITS.find(([factor]) => seconds >= factor) ?? [1, "s"];
    return `${Number((seconds / factor).toPrecision(3))} ${unit}`;
};

for (const chart of document.querySelectorAll("svg.chart[data-axis]")) {
    const axis = JSON.parse(chart.dataset.axis), { name, label, low, high, left, right, logarithmic } = axis;
    const shade = chart.querySelector(".range");
    const range = { name, begun: null, drawn: false };
    ranges.push(range);
    range.shade = ([from, to] = [0, 0]) => {
        shade.setAttribute("x", from);
        shade.setAttribute("width", to - from);
    };
    const place = ({ clientX }) => {
        const { a: scale, e: shift } = chart.getScreenCTM().inverse();
        return Math.min(right, Math.max(left, clientX * scale + shift));
    };
    const value = (place) => {
        const share = (place - left) / (right - left);
        return logarithmic ? low * (high / low) ** share : low + (high - low) * share;
    };
    const ends = (event) => [range.begun, place(event)].sort((one, other) => one - other);
    chart.addEventListener("pointerdown", (event) => {
        range.begun = event.button === 0 ? place(event) : null;
        range.drawn = false;
    });
    chart.addEventListener("pointermove", (event) => {
        if (range.begun === null) return;
        range.drawn ||= Math.abs(place(event) - range.begun) > DRAWN;
        if (!range.drawn) return;
        document.activeElement.blur();
        chart.setPointerCapture(event.pointerId);
        range.shade(ends(event));
    });
    chart.addEventListener("pointerup", (event) => {
        if (range.begun !== null && range.drawn) {
            const places = ends(event), [from, to] = places.map(value);
            const text = `${label}: ${moment(from, axis)} – ${moment(to, axis)}`;
            const pick = { [name]: [from, places[1] < right ? to : Infinity] };
            set([...filters.filter((filter) => filter.range?.name !== name), { label: text, pick, range, places }]);
            document.getElementById("connections").scrollIntoView();
        }
        range.begun = null;
    });
    chart.addEventListener("pointercancel", () => {
        range.begun = null;
        draw();
    });
    chart.addEventListener("click", (event) => range.drawn && event.stopPropagation(), true);
}

// Of a chart's bars and points one is reached by the tabulator key, the others by arrow keys.

for (const chart of document.querySelectorAll("svg.chart")) {
    const marks = [...chart.querySelectorAll(".pick, a")];
    marks.slice(1).forEach((element) => element.setAttribute("tabindex", "-1"));
    chart.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const target = by && marks[marks.indexOf(document.activeElement) + by];
        if (!target) return;
        event.preventDefault();
        document.activeElement.setAttribute("tabindex", "-1");
        target.setAttribute("tabindex", "0");
        target.focus();
    });
}

// A click on a filter copies it.

addEventListener("click", async (event) => {
    const code = event.target.closest?.("code.copy");
    if (!code) return;
    event.stopPropagation();
    await navigator.clipboard?.writeText(code.textContent);
    code.dataset.copied = words.copied;
    setTimeout(() => delete code.dataset.copied, 1500);
}, true);

// All rows are printed, up to a limit.

const PRINTED = 1000;
let before = null;
addEventListener("beforeprint", () => {
    before = [first, length];
    [first, length] = [0, PRINTED];
    draw();
});
addEventListener("afterprint", () => {
    [first, length] = before;
    draw();
});

choose();
update();
follow();
