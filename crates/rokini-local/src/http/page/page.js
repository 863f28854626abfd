'use strict';
// Shows what the local Kinesis holds, and sets its clock, limits and faults.
const byId = (id) => document.getElementById(id);
const EVERY = 1000;
const ROWS = 500;
let latest = null;
let before = null;
let rates = new Map();
let stream = null;
let shard = null;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null && text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`;
const short = (id) => id.replace(/^shardId-0*(?=\d)/, 'shard ');
const time = (millis) => (millis === null ? '–' : new Date(millis).toISOString().replace('T', ' ').slice(0, 23));

function size(bytes) {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function ask(path, options = {}) {
  const answer = await fetch(`/_rokini/${path}`, { cache: 'no-store', ...options });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? answer.statusText);
  return body;
}

const post = (path, body) => ask(path, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
});

function say(text, bad = false) {
  byId('said').textContent = text;
  byId('said').className = bad ? 'bad' : '';
}

async function change(done, act) {
  try {
    await act();
    say(done);
  } catch (error) {
    say(`that did not work: ${error.message}`, true);
  }
  await refresh();
}

// Rates are differences of what each shard says it wrote and gave, by the clock of this page.
function measure(shown) {
  const now = { at: performance.now(), stream: shown?.id, shards: new Map((shown?.shards ?? []).map((one) => [one.number, one])) };
  rates = new Map();
  if (before && before.stream === now.stream) {
    const seconds = (now.at - before.at) / 1000;
    for (const [number, one] of now.shards) {
      const then = before.shards.get(number);
      if (!then || seconds <= 0) continue;
      const per = (name) => Math.max(0, one[name] - then[name]) / seconds;
      rates.set(number, { written: per('written_records'), writtenBytes: per('written_bytes'), read: per('read_records'), readBytes: per('read_bytes') });
    }
  }
  before = now;
}

// Generations of shards: a shard lies one line below the last of its parents that are still kept.
function generations(shards) {
  const known = new Map(shards.map((one) => [one.id, one]));
  const depth = new Map();
  const lines = [];
  for (const one of shards) {
    // Parents have smaller numbers, and come first.
    const parents = one.parents.filter((id) => known.has(id)).map((id) => (depth.get(id) ?? 0) + 1);
    depth.set(one.id, Math.max(0, ...parents));
    (lines[depth.get(one.id)] ??= []).push(one);
  }
  return lines.filter(Boolean);
}

function strips(shown) {
  const most = Math.max(1, ...[...rates.values()].map((rate) => rate.writtenBytes));
  byId('strips').replaceChildren(...generations(shown?.shards ?? []).map((line) => {
    const open = line.filter((one) => one.open).length;
    const label = `${count(line.length, 'shard')} by hash range, ${open} of them open; the table of shards has each of them`;
    const bar = element('div', null, { class: open ? 'bar' : 'bar old', role: 'img', 'aria-label': label });
    for (const one of line) {
      const piece = element('span', null, { title: `${one.id}: ${one.open ? 'open' : 'closed'}, ${count(one.records, 'record')}` });
      piece.style.left = `${one.from * 100}%`;
      piece.style.width = `${Math.max((one.to - one.from) * 100, 0.05)}%`;
      piece.style.background = one.open ? `hsl(${40 + ((one.number * 137.5 + 170) % 270)} 55% 55%)` : 'var(--line)';
      if (one.number === shard) piece.classList.add('chosen');
      const load = element('i', null, { class: 'load' });
      load.style.height = `${(100 * (rates.get(one.number)?.writtenBytes ?? 0)) / most}%`;
      piece.append(load);
      piece.addEventListener('click', () => look(one.number, false));
      bar.append(piece);
    }
    return bar;
  }));
}

function fill(id, rows) {
  const body = byId(id);
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  body.replaceChildren(...rows);
  if (focused !== undefined) body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function row(...cells) {
  const made = element('tr', null);
  for (const cell of cells) made.append(cell instanceof Node ? cell : element('td', cell));
  return made;
}

const number = (text) => element('td', text, { class: 'number' });

function button(text, key, act) {
  const made = element('button', text, { type: 'button' });
  made.dataset.key = key;
  made.addEventListener('click', act);
  const cell = element('td', null);
  cell.append(made);
  return cell;
}

function shardRows(shown) {
  const shards = [...(shown?.shards ?? [])].sort((a, b) => b.open - a.open || a.number - b.number);
  fill('shard-rows', shards.slice(0, ROWS).map((one) => {
    const rate = rates.get(one.number);
    const of = (records, bytes) => (rate ? `${records.toFixed(records < 10 ? 1 : 0)} · ${size(bytes)}` : '–');
    const made = row(button(short(one.id), String(one.number), () => look(one.number, true)), one.open ? 'open' : 'closed',
      one.parents.map(short).join(', ') || '–', number(String(one.records)), number(of(rate?.written, rate?.writtenBytes)),
      number(of(rate?.read, rate?.readBytes)), time(one.newest_millis));
    if (one.number === shard) made.className = 'chosen';
    return made;
  }));
  const left = Math.max(0, shards.length - ROWS) + (shown?.more_shards ?? 0);
  byId('more').textContent = left ? `${left} more: \`rokini stream describe\` has them all` : '';
}

function facts(shown) {
  const known = shown ? [
    ['ARN', shown.arn], ['State', shown.status], ['Capacity', shown.mode], ['Retention', `${shown.retention_hours} hours`],
    ['Encryption', shown.encryption], ['Created', time(shown.created_millis)],
  ] : [['', 'There is no stream yet.']];
  byId('stream-facts').replaceChildren(...known.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
  const consumers = shown?.consumers ?? [];
  fill('consumer-rows', consumers.length
    ? consumers.map((one) => row(one.name, one.status, one.shards.map(short).join(', ') || '–'))
    : [row('none', '', '')]);
  const queues = shown?.queues ?? [];
  fill('queue-rows', queues.length
    ? queues.map((one) => row(one.name, one.status, number(String(one.waiting)), number(String(one.in_flight)), number(String(one.dead_letters))))
    : [row('none', '', '', '', '')]);
}

function choices(overview) {
  const select = byId('stream');
  const name = (one) => `${one.name} (${one.region}${one.account === '000000000000' ? '' : `, ${one.account}`}): ${count(one.open_shards, 'shard')}, ${count(one.records, 'record')}`;
  const texts = overview.streams.map((one) => [String(one.id), name(one)]);
  const shown = [...select.options].map((option) => [option.value, option.textContent]);
  if (JSON.stringify(texts) !== JSON.stringify(shown)) {
    select.replaceChildren(...texts.map(([value, text]) => element('option', text, { value })));
  }
  select.value = String(overview.stream?.id ?? '');
}

// An ARN as its name, region and account.
function called(stream) {
  const [, , , region, account, resource] = stream.split(':');
  return resource ? `${resource.split('/')[1]} (${region}, ${account})` : stream;
}

function faults(rules) {
  const describe = ({ rule }) => {
    const { kind, ...more } = rule.fault;
    const of = [rule.operation ?? 'every call', rule.stream && `on ${called(rule.stream)}`, rule.shard && short(rule.shard)].filter(Boolean).join(' ');
    const left = rule.times ? `, ${rule.times} times` : '';
    return `${of}: ${kind.replaceAll('_', ' ')}${Object.keys(more).length ? ` ${JSON.stringify(more)}` : ''}${left}`;
  };
  fill('fault-rows', rules.map((one) => row(describe(one),
    button('Take away', String(one.id), () => change('the rule is gone', () => ask(`faults/${one.id}`, { method: 'DELETE' }))))));
  byId('no-faults').hidden = rules.length > 0;
}

function draw(shift, rules) {
  const { overview } = latest;
  const shown = overview.stream;
  stream = shown?.id ?? null;
  const records = overview.streams.reduce((sum, one) => sum + one.records, 0);
  byId('summary').textContent = `${count(overview.streams.length, 'stream')} · ${count(records, 'record')} · ${time(overview.now_millis).slice(11, 19)} UTC`;
  byId('summary').className = '';
  choices(overview);
  strips(shown);
  shardRows(shown);
  facts(shown);
  byId('clock').textContent = `${time(overview.now_millis)} UTC${shift ? `, moved by ${shift / 1000} s` : ''}`;
  byId('throughput-limits').checked = overview.throughput_limits;
  byId('call-limits').checked = overview.call_limits;
  faults(rules);
}

async function refresh() {
  try {
    const asked = stream === null ? 'streams' : `streams?stream=${stream}`;
    const [state, rules] = await Promise.all([ask(asked), ask('faults')]);
    latest = state;
    measure(state.overview.stream);
    draw(state.shifted_by_millis, rules);
  } catch (error) {
    byId('summary').textContent = `it does not answer (${error.message}); trying again`;
    byId('summary').className = 'bad';
  }
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

// A few bytes can be many gigabytes unpacked: so much of them is shown.
const MOST_UNPACKED = 1 << 20;
// And packed in themselves again and again.
const MOST_LAYERS = 3;

// What stands in front is what arrived, also where only the beginning is here.
async function gunzip(bytes) {
  const parts = [];
  let length = 0;
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip')).getReader();
  try {
    for (let read = await reader.read(); !read.done && length < MOST_UNPACKED; read = await reader.read()) {
      parts.push(read.value);
      length += read.value.length;
    }
    await reader.cancel();
  } catch {
    // The end is not here.
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length && at < 1024; at += 16) {
    const part = [...bytes.slice(at, at + 16)];
    const letters = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${part.map((byte) => byte.toString(16).padStart(2, '0')).join(' ').padEnd(48)} ${letters}`);
  }
  return lines.join('\n') + (bytes.length > 1024 ? '\n…' : '');
}

async function decode(bytes, whole, layers = 0) {
  if (layers < MOST_LAYERS && bytes[0] === 0x1f && bytes[1] === 0x8b) {
    const inside = await gunzip(bytes);
    if (inside.length) {
      const [kind, text] = await decode(inside, false, layers + 1);
      return [`gzip, ${kind}`, text];
    }
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: !whole });
    if (/[\u0000-\u0008\u000e-\u001f]/.test(text)) return ['hex', hex(bytes)];
    try {
      if (/^\s*[[{]/.test(text)) return ['JSON', JSON.stringify(JSON.parse(text), null, 2)];
    } catch {
      // It only looks like JSON.
    }
    return ['text', text];
  } catch {
    return ['hex', hex(bytes)];
  }
}

async function recordRow(record) {
  const data = element('td', null);
  let kind = '';
  if (record.user_records) {
    kind = `KPL, ${count(record.user_records.length, 'record')}`;
    for (const part of record.user_records) {
      const bytes = bytesOf(part.data_base64);
      const [partKind, text] = await decode(bytes, bytes.length === part.bytes);
      const shown = element('div', null, { class: 'parts' });
      shown.append(element('span', `${part.partition_key} · ${partKind} · ${size(part.bytes)}`, { class: 'quiet' }), element('pre', text));
      data.append(shown);
    }
  } else {
    const bytes = bytesOf(record.data_base64);
    const [found, text] = await decode(bytes, bytes.length === record.bytes);
    kind = found;
    data.append(element('pre', text + (bytes.length < record.bytes ? '\n…' : '')));
  }
  const arrived = element('td', time(record.arrived_millis), { title: record.sequence_number });
  return row(arrived, record.partition_key ?? '(none)', kind, number(String(record.bytes)), data);
}

async function records() {
  if (shard === null) return;
  const chosen = shard;
  try {
    const found = await ask(`records?stream=${stream}&shard=${chosen}&last=20`);
    const rows = await Promise.all(found.map(recordRow));
    if (shard !== chosen) return;
    byId('record-rows').replaceChildren(...rows);
    byId('no-records').hidden = rows.length > 0;
  } catch (error) {
    say(`the records cannot be shown: ${error.message}`, true);
  }
}

async function look(chosen, focus) {
  shard = chosen;
  byId('records').hidden = false;
  byId('records-title').textContent = `Last records of shard ${chosen}`;
  draw(latest.shifted_by_millis, await ask('faults'));
  await records();
  if (focus) byId('records').focus();
  byId('records').scrollIntoView({ block: 'nearest' });
}

function close() {
  const key = String(shard);
  shard = null;
  byId('records').hidden = true;
  byId('shard-rows').querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

const FAULTS = {
  throttle: { kind: 'throttle' },
  error: { kind: 'error', code: 'InternalFailure', message: 'set on the page' },
  delay: { kind: 'delay', millis: 1000 },
  drop_before: { kind: 'drop_before' },
  drop_after: { kind: 'drop_after' },
  hang_before: { kind: 'hang_before' },
  expired: { kind: 'error', code: 'ExpiredIteratorException', message: 'set on the page' },
};

byId('stream').addEventListener('change', (event) => {
  stream = Number(event.target.value);
  if (shard !== null) close();
  refresh();
});
byId('records-again').addEventListener('click', records);
byId('records-close').addEventListener('click', close);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && shard !== null) close();
});
byId('clock-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const millis = Math.round(byId('clock-amount').valueAsNumber * Number(byId('clock-unit').value));
  change('the clock is moved', () => post('clock', { advance_millis: millis }));
});
for (const [id, name] of [['throughput-limits', 'throughput_limits'], ['call-limits', 'call_limits']]) {
  byId(id).addEventListener('change', (event) => {
    const on = event.target.checked;
    change(`limits are ${on ? 'on' : 'off'}`, () => post('limits', { [name]: on }));
  });
}
byId('fault-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const rule = { fault: FAULTS[byId('fault-kind').value] };
  if (byId('fault-operation').value) rule.operation = byId('fault-operation').value;
  if (byId('fault-times').value) rule.times = byId('fault-times').valueAsNumber;
  if (byId('fault-here').checked && latest?.overview.stream) rule.stream = latest.overview.stream.arn;
  change('the rule is added', () => post('faults', rule));
});

(async () => {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resolve) => { setTimeout(resolve, EVERY); });
  }
})();
