// SPDX-License-Identifier: GPL-2.0-or-later
// The table of connections: it sorts, searches, filters and turns pages; a row opens its ladder.
// A browser without scripts shows the same table as it is. Here it is text first, and no element but the rows that are shown is laid out.
const { failed, mark, words } = JSON.parse(document.getElementById("data").textContent);

const OPENING = 5, CLOSING = 7, CLOSER = 8, DIAGNOSIS = 9, ANOMALIES = 10;
const START = 0, END = 1, HANDSHAKE = 2;
const PINNED = 3;
const HIDDEN_ON_PHONES = [3, 4, 8, 10, 11, 12, 13, 14];
const FEW = 10;

const place = document.getElementById("live");
const inert = document.createElement("template");
inert.innerHTML = document.querySelector("#connections noscript").textContent;
const table = inert.content.getElementById("table"), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
const scroller = table.parentElement;

class Row {
    #cells;
    #numbers;

    constructor(element, index) {
        Object.assign(this, { element, index, detail: null });
    }

    get cells() {
        if (!this.#cells) {
            this.#cells = Array.from(this.element.cells, (cell) => cell.textContent);
            this.#cells[OPENING] = this.#cells[OPENING].replace(`${mark} `, "");
        }
        return this.#cells;
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
    establishment: (row) => [row.cells[OPENING]],
    termination: (row) => [row.cells[CLOSING]],
    closed_by: (row) => [row.cells[CLOSER]],
    diagnosis: (row) => [row.cells[DIAGNOSIS]],
    anomalies: (row) => row.cells[ANOMALIES].split(", "),
    client: (row) => [address(row.cells[1])],
    server: (row) => [row.cells[2]],
};
const RANGES = { start: START, end: END, handshake: HANDSHAKE };

const matches = (row, [column, wanted]) => {
    if (column in VALUES) return VALUES[column](row).some((value) => wanted.includes(value));
    const number = row.numbers[RANGES[column]];
    return number !== null && number >= wanted[0] && number < wanted[1];
};

const searched = (row) => {
    const opening = row.cells[OPENING];
    const more = failed.includes(opening) ? [...words.failed, words.kinds[opening]] : [];
    return (row.searched ??= [...row.cells, ...more].join(" ").toLowerCase());
};

// What is asked for

let filters = [], order = null, first = 0, length = 25, found = rows;

const compare = new Intl.Collator(undefined, { numeric: true }).compare;
const SORTED_BY = {
    0: (row) => row.index,
    3: (row) => row.numbers[START],
    4: (row) => row.numbers[END] - row.numbers[START],
    6: (row) => row.numbers[HANDSHAKE],
    11: (row) => row.numbers[3],
    12: (row) => row.numbers[4],
};

const sort = () => {
    if (!order) return;
    const value = SORTED_BY[order.column] ?? ((row) => row.cells[order.column] || null);
    const sign = order.down ? -1 : 1;
    const keyed = found.map((row) => [value(row), row]);
    keyed.sort(([a, one], [b, other]) => {
        if (a === null || b === null) return (a === null) - (b === null) || one.index - other.index;
        return sign * (typeof a === "number" ? a - b : compare(a, b)) || one.index - other.index;
    });
    found = keyed.map(([, row]) => row);
};

const update = () => {
    const conditions = filters.flatMap(({ pick }) => Object.entries(pick));
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter(
        (row) => conditions.every((condition) => matches(row, condition)) && wanted.every((word) => searched(row).includes(word)),
    );
    sort();
    first = 0;
    draw();
};

// What is drawn

const ready = (row) => {
    if (row.ready) return;
    row.ready = true;
    const { element, cells } = row;
    element.tabIndex = 0;
    element.setAttribute("aria-label", `${words.open} ${cells[0]}`);
    element.setAttribute("aria-expanded", "false");
    element.cells[0].textContent = cells[0];
    const picks = { 1: { client: [address(cells[1])] }, 2: { server: [cells[2]] } };
    for (const [column, name] of [[OPENING, "establishment"], [CLOSING, "termination"], [CLOSER, "closed_by"], [DIAGNOSIS, "diagnosis"]])
        picks[column] = { [name]: [cells[column]] };
    for (const [column, pick] of Object.entries(picks)) {
        const cell = element.cells[column];
        if (!cells[column]) continue;
        const button = made("span", { className: "pick" });
        button.dataset.pick = JSON.stringify(pick);
        button.dataset.label = `${heads[column].textContent}: ${Object.values(pick)[0]}`;
        button.append(...cell.childNodes);
        cell.append(button);
        pickable(button);
    }
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
    box.checked = !(HIDDEN_ON_PHONES.includes(column) && innerWidth < 600);
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

// Bars, legends and counts filter the table. A choice on the page replaces the one before; one in the table narrows it.

const set = (chosen) => {
    filters = chosen;
    update();
};

const chip = (filter) =>
    button(`${filter.label} ×`, () => set(filters.filter((other) => other !== filter)), words.remove);

const choosePick = (element) => {
    const key = element.dataset.pick;
    const label = element.dataset.label ?? element.querySelector("title")?.textContent ?? element.textContent.trim();
    const others = filters.filter((filter) => filter.key !== key);
    if (others.length < filters.length) return set(others);
    const inTable = table.contains(element);
    set([...(inTable ? others : []), { key, label, pick: JSON.parse(key) }]);
    if (!inTable) document.getElementById("connections").scrollIntoView();
};

function pickable(element) {
    pressable(element, () => choosePick(element));
}
document.querySelectorAll(".pick").forEach(pickable);

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
