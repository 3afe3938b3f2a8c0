/* SPDX-License-Identifier: Apache-2.0
 *
 * The page shows what virt-guard's own commands say, and changes waivers by `virt-guard waiver` alone. What comes from a
 * domain (names, evidence) is untrusted: it becomes text nodes, and arguments behind "--", never HTML or a shell's text.
 */
"use strict";

const _ = cockpit.gettext;
const COMMAND = "/usr/bin/virt-guard";
const MOST_ROWS = 200;

const byId = id => document.getElementById(id);
const state = { rules: new Map(), domains: new Map(), isAdmin: false, reading: 0 };

function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
}

/* Fulfilled with the exit status and both texts; exit statuses of virt-guard are answers, not failures. */
function run(argv, superuser) {
    const options = { superuser, err: "message", environ: ["LC_ALL=C.UTF-8"] };
    return new Promise((resolve, reject) => {
        cockpit.spawn([COMMAND, ...argv], options)
            .then(out => resolve({ status: 0, out, err: "" }))
            .catch((error, out) => {
                if (error.problem)
                    reject(new Error(error.problem === "not-found" ? _("virt-guard is not installed") : error.message));
                else
                    resolve({ status: error.exit_status, out: out || "", err: error.message || "" });
            });
    });
}

async function objects(argv) {
    const { status, out, err } = await run([...argv, "--format", "jsonl"], "try");
    const rows = out.split("\n").filter(line => line).map(line => JSON.parse(line));
    return { rows, err: status === 2 ? err : "" };
}

/* --- what is shown --- */

function table(titles, rows, more) {
    const shown = rows.slice(0, MOST_ROWS);
    const head = element("tr", {}, ...titles.map(title => element("th", { scope: "col" }, title)));
    const body = element("tbody", {}, ...shown.map(cells =>
        element("tr", {}, ...cells.map(cell => element("td", {}, ...[].concat(cell))))));
    const parts = [element("table", {}, element("thead", {}, head), body)];
    const left = rows.length - shown.length + (more || 0);
    if (left > 0)
        parts.push(element("p", { className: "dim" }, cockpit.format(_("and $0 more"), left)));
    return parts;
}

const paragraph = (text, className) => element("p", { className: className || "" }, text);

function fill(id, parts, err) {
    byId(id).replaceChildren(...parts, ...(err ? [element("pre", { className: "unknown" }, err.trim())] : []));
}

function moment(text) {
    const date = new Date(text);
    return isNaN(date) ? String(text || "") : date.toLocaleString(cockpit.language.replace("_", "-"));
}

function ruleName(id) {
    const rule = state.rules.get(id);
    return rule ? id + ": " + rule.title : id;
}

function explained(id) {
    const rule = state.rules.get(id);
    const parts = [element("strong", {}, ruleName(id))];
    if (rule && rule.why)
        parts.push(paragraph(rule.why));
    if (rule && rule.remedy)
        parts.push(paragraph(_("Remedy:") + " " + rule.remedy));
    return element("li", {}, ...parts);
}

function details(summary, items) {
    return element("details", {}, element("summary", {}, summary), element("ul", {}, ...items));
}

const STATES = {
    amiss: _("The guard is not in force as it should be."),
    unknown: _("Not everything about the guard could be told."),
    note: _("The guard is in force, with remarks."),
    ok: _("The guard is in force."),
};

async function showStatus() {
    const { rows, err } = await objects(["status"]);
    const worst = Object.keys(STATES).find(name => rows.some(row => row.state === name)) || "unknown";
    byId("headline").className = "state " + worst;
    byId("headline").textContent = STATES[worst];
    const describe = row => element("li", { className: row.state === "ok" ? "" : row.state },
        row.subject + ": " + row.text,
        ...(row.remedy && row.state !== "ok" ? [element("br"), _("To mend it:") + " ", element("code", {}, row.remedy)] : []));
    const fine = rows.filter(row => row.state === "ok");
    const others = rows.filter(row => row.state !== "ok");
    fill("status", [
        ...(others.length ? [element("ul", {}, ...others.map(describe))] : []),
        ...(fine.length ? [details(cockpit.format(_("What is fine: $0"), fine.length), fine.map(describe))] : []),
    ], err);
}

async function showRefused() {
    const { rows, err } = await objects(["report", "--since", "30 days ago"]);
    const refused = rows.filter(row => (row.kind === "refused" || row.kind === "would-refuse") && row.domain);
    const left = rows.reduce((sum, row) =>
        sum + (["refused", "would-refuse"].includes(row.kind) && row["without-a-row"] || 0), 0);
    refused.sort((one, other) => new Date(other.last) - new Date(one.last));
    if (!refused.length)
        return fill("refused", [paragraph(_("None."))], err);
    const titles = [_("Last"), _("Domain"), _("Rules"), _("Times"), ""];
    fill("refused", table(titles, refused.map(row => {
        const rules = row.denied || row.rules || [];
        return [
            moment(row.last),
            [row.domain, ...(row.kind === "refused" ? [] : [element("br"), element("span", { className: "dim" },
                _("admitted: mode audit"))])],
            rules.length ? details(rules.join(", "), rules.map(explained)) : row.message || "",
            String(row.count || 1),
            grantButton(row.domain, rules),
        ];
    }), left), err);
    return undefined;
}

async function showNext() {
    const { rows, err } = await objects(["scan", "--next-boot"]);
    const amiss = rows.filter(row => row.decision !== "admit");
    if (!amiss.length) {
        const text = err ? _("It could not be told.") : cockpit.format(_("Nothing. Domains judged, which run or start with the host: $0"), rows.length);
        return fill("next", [paragraph(text)], err);
    }
    const describe = finding => element("li", { className: finding.status === "deny" ? "deny" : "" },
        finding.rule + ": " + finding.message,
        element("br"), element("code", {}, finding.evidence || finding.path || ""),
        ...(finding.remedy ? [element("br"), _("Remedy:") + " " + finding.remedy] : []));
    fill("next", table([_("Domain"), _("Why"), ""], amiss.map(row => {
        const findings = row.findings.filter(finding => finding.status !== "warn" && finding.status !== "waived");
        const rules = [...new Set(findings.map(finding => finding.rule))];
        return [
            row.domain || row.source,
            row.error || details(rules.join(", "), findings.map(describe)),
            grantButton(row.domain, rules),
        ];
    })), err);
    return undefined;
}

/* A domain of a waiver is a name, a UUID or a pattern, or an object with both. */
const domainText = domain => typeof domain === "string" ? domain : domain.name + " (" + domain.uuid + ")";

async function showWaivers() {
    const { rows, err } = await objects(["waiver", "list"]);
    if (!rows.length)
        return fill("waivers", [paragraph(_("None."))], err);
    const titles = [_("Domains"), _("Rules"), _("Reason"), _("Last day"), _("Used by"), ""];
    fill("waivers", table(titles, rows.map(row => [
        row.domains.map(domainText).join(", "),
        row.rules.join(", "),
        [row.reason || "", ...(row.ticket ? [element("br"), element("span", { className: "dim" }, row.ticket)] : [])],
        [row.expires || "", element("br"), element("span", {
            className: row["days-left"] < 0 ? "amiss" : row["days-left"] < 14 ? "unknown" : "dim",
        }, row["days-left"] < 0 ? _("ended") : cockpit.format(_("days left: $0"), row["days-left"]))],
        row["used-by"] === null ? "" : row["used-by"].length ? row["used-by"].join(", ") : _("nothing"),
        changeButtons(row),
    ])), err);
    return undefined;
}

async function readRules() {
    const { rows } = await objects(["rules"]);
    state.rules = new Map(rows.map(rule => [rule.rule, rule]));
}

async function readDomains() {
    const { rows } = await objects(["scan", "--denied"]);
    state.domains = new Map(rows.filter(row => row.domain).map(row =>
        [row.domain, row.findings.filter(finding => finding.status === "deny").map(finding => finding.rule)]));
    byId("domains").replaceChildren(...[...state.domains.keys()].map(name => element("option", { value: name })));
}

/* --- what is changed --- */

function grantButton(domain, rules) {
    const waivable = rules.filter(id => state.rules.has(id) && state.rules.get(id).waivable);
    if (!state.isAdmin || !domain || !waivable.length)
        return "";
    const button = element("button", { type: "button" }, _("Waive…"));
    button.addEventListener("click", () => ask("add", [domain], waivable));
    return button;
}

function changeButtons(waiver) {
    if (!state.isAdmin || !waiver.domains.length)
        return "";
    const renew = element("button", { type: "button" }, _("Renew…"));
    renew.addEventListener("click", () => ask("renew", waiver.domains, waiver.rules, waiver));
    const remove = element("button", { type: "button" }, _("Remove…"));
    remove.addEventListener("click", () => ask("remove", waiver.domains, waiver.rules, waiver));
    return [renew, remove];
}

const TITLES = { add: _("Grant a waiver"), renew: _("Renew a waiver"), remove: _("Remove a waiver") };
const VERBS = { add: _("Grant"), renew: _("Renew"), remove: _("Remove") };

function dayFromNow(days) {
    const date = new Date();
    date.setDate(date.getDate() + days);
    return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(n => String(n).padStart(2, "0")).join("-");
}

function showRulesOf(offered, chosen) {
    const boxes = offered.map(id => element("label", {},
        element("input", { type: "checkbox", name: "rule", value: id, checked: chosen.includes(id) }), " ", ruleName(id)));
    byId("rules").replaceChildren(byId("rules").firstElementChild, ...boxes);
}

function ask(verb, domains, rules, waiver) {
    const [domain, ...others] = domains.map(each => typeof each === "string" ? each : each.name);
    const form = byId("form");
    form.reset();
    form.dataset.verb = verb;
    byId("dialog-title").textContent = TITLES[verb];
    byId("apply").textContent = VERBS[verb];
    byId("domain").value = domain || "";
    byId("domain").readOnly = verb !== "add";
    state.others = others;
    byId("others").textContent = others.join(", ");
    const all = [...state.rules.values()].filter(rule => rule.waivable && rule.action === "deny").map(rule => rule.rule);
    showRulesOf(verb === "add" ? [...new Set([...rules, ...all])] : rules, rules);
    byId("until").value = dayFromNow(30);
    byId("reason").required = verb === "add";
    byId("reason").value = waiver && waiver.reason || "";
    byId("ticket").value = waiver && waiver.ticket || "";
    for (const row of ["until", "reason", "ticket"]) {
        byId(row + "-row").hidden = verb === "remove";
        byId(row).disabled = verb === "remove";
    }
    byId("said").hidden = true;
    byId("dialog").showModal();
}

async function apply(event) {
    event.preventDefault();
    const form = byId("form");
    const verb = form.dataset.verb;
    const rules = [...form.querySelectorAll("input[name=rule]:checked")].map(box => box.value);
    const say = text => {
        byId("said").textContent = text;
        byId("said").hidden = !text;
    };
    if (!rules.length)
        return say(_("Choose at least one rule."));
    const argv = ["waiver", verb];
    if (verb !== "remove") {
        argv.push("--until=" + byId("until").value);
        for (const name of ["reason", "ticket"])
            if (byId(name).value)
                argv.push("--" + name + "=" + byId(name).value);
        if (state.user)
            argv.push("--approved-by=" + state.user);
    }
    for (const other of state.others)
        argv.push("--domain=" + other);
    byId("apply").disabled = true;
    say("");
    try {
        const { status, err } = await run([...argv, "--", byId("domain").value, ...rules], "require");
        if (status !== 0)
            return say(err.trim() || cockpit.format(_("Exit status $0"), status));
        byId("dialog").close();
        await showAll();
    } catch (error) {
        say(error.message);
    } finally {
        byId("apply").disabled = false;
    }
    return undefined;
}

/* --- the page --- */

async function section(id, show) {
    try {
        await show();
    } catch (error) {
        fill(id, [], error.message);
        if (id === "status") {
            byId("headline").className = "state unknown";
            byId("headline").textContent = STATES.unknown;
        }
    }
}

async function showAll() {
    const reading = ++state.reading;
    byId("reload").disabled = true;
    const first = section("status", showStatus);
    await section("refused", readRules);
    if (reading === state.reading) {
        await Promise.all([
            first, section("refused", showRefused), section("next", showNext), section("waivers", showWaivers),
        ]);
    }
    if (reading === state.reading) {
        byId("reload").disabled = false;
        document.body.dataset.shown = "yes";
    }
}

function begin() {
    cockpit.translate();
    cockpit.user().then(user => { state.user = user.name; });
    const permission = cockpit.permission({ admin: true });
    const told = () => {
        state.isAdmin = permission.allowed === true;
        byId("limited").hidden = permission.allowed !== false;
        byId("grant").hidden = !state.isAdmin;
        showAll();
    };
    permission.addEventListener("changed", told);
    if (permission.allowed !== null)
        told();
    byId("reload").addEventListener("click", showAll);
    byId("grant").addEventListener("click", () => {
        ask("add", [], []);
        readDomains().catch(() => undefined); // a name can be typed without them
    });
    byId("cancel").addEventListener("click", () => byId("dialog").close());
    byId("form").addEventListener("submit", apply);
    byId("domain").addEventListener("change", event => {
        const denied = (state.domains.get(event.target.value) || []).filter(id =>
            state.rules.has(id) && state.rules.get(id).waivable);
        const all = [...state.rules.values()].filter(rule => rule.waivable && rule.action === "deny").map(rule => rule.rule);
        showRulesOf([...new Set([...denied, ...all])], denied);
    });
}

begin();
