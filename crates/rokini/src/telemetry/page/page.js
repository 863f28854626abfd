'use strict';
// Shows what a worker says, or the rows of the group where none serves the page. Nothing is kept but the last minutes of the charts, and nothing is ever sent.
const byId = (id) => document.getElementById(id);
const ROWS = 500;
const POINTS = 150;
let latest = null;
let chosen = null;
let before = null;
const charts = { lag: [], rate: [], handler: [] };

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null && text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function span(millis) {
  if (millis === null || millis === undefined) return '–';
  const seconds = millis / 1000;
  if (seconds < 1) return `${Math.round(millis)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`;
const short = (id) => id.replace(/^shardId-0*(?=\d)/, 'shard ');
const shardsOf = (group) => group.streams.flatMap((stream) => stream.shards.map((shard) => ({ stream, shard })));

// The same worker has the same colour on every screen that shows the same workers.
function color(owner, owners) {
  if (!owner) return 'var(--free)';
  // Not the reds: those are for what stands still.
  const hue = 40 + ((owners.indexOf(owner) * 137.5 + 170) % 270);
  return `hsl(${hue} 55% 55%)`;
}

function ownersOf(group) {
  const names = group.workers.map((worker) => worker.name);
  for (const { shard } of shardsOf(group)) if (shard.owner) names.push(shard.owner);
  return [...new Set(names)].sort();
}

function summary(group) {
  const shards = shardsOf(group).filter(({ shard }) => shard.state !== 'ended');
  const standing = shards.filter(({ shard }) => shard.stands);
  const alive = group.workers.filter((worker) => worker.state === 'alive');
  const text = [count(shards.length, 'shard'), count(alive.length, 'worker')];
  text.push(standing.length === 0 ? 'none stands still' : `${standing.length} do not move`);
  if (group.worker) text.push(`seen by ${group.worker}`);
  text.push(new Date(group.at).toISOString().slice(11, 19) + ' UTC');
  byId('summary').textContent = text.join(' · ');
  byId('summary').className = standing.length === 0 ? '' : 'bad';
  byId('group').textContent = group.group;
  document.title = `${standing.length ? `(${standing.length}) ` : ''}${group.group} – Rokini`;
}

// Generations of shards: a shard lies one line below the last of its parents that are still kept.
function generations(shards) {
  const known = new Map(shards.map((shard) => [shard.id, shard]));
  const depth = new Map();
  const of = (shard, seen = new Set()) => {
    if (depth.has(shard.id)) return depth.get(shard.id);
    if (seen.has(shard.id)) return 0;
    seen.add(shard.id);
    const parents = shard.parents.filter((id) => known.has(id)).map((id) => of(known.get(id), seen) + 1);
    const found = Math.max(0, ...parents);
    depth.set(shard.id, found);
    return found;
  };
  const lines = [];
  for (const shard of shards) (lines[of(shard)] ??= []).push(shard);
  return lines.filter(Boolean);
}

function strips(group, owners) {
  const drawn = group.streams.map((stream) => {
    const figure = element('figure', null, { class: 'strip' });
    const open = stream.shards.filter((shard) => shard.state !== 'ended');
    figure.append(element('figcaption', `${stream.name}: ${count(open.length, 'shard')}; older shards above those that came from them`));
    for (const line of generations(stream.shards)) {
      const ended = line.every((shard) => shard.state === 'ended');
      const standing = line.filter((shard) => shard.stands).length;
      const label = `${count(line.length, 'shard')} by hash range, ${standing} of them do not move; the table of shards has each of them`;
      const bar = element('div', null, { class: ended ? 'bar old' : 'bar', role: 'img', 'aria-label': label });
      for (const shard of line) {
        if (shard.from === null) continue;
        const piece = element('span', null, { title: `${shard.id}: ${shard.owner ?? 'nobody'}, ${shard.state}` });
        piece.style.left = `${shard.from * 100}%`;
        piece.style.width = `${Math.max((shard.to - shard.from) * 100, 0.05)}%`;
        piece.style.background = shard.state === 'ended' ? 'var(--line)' : color(shard.owner, owners);
        if (shard.stands) piece.classList.add('bad');
        if (chosen === `${stream.id} ${shard.id}`) piece.classList.add('chosen');
        piece.addEventListener('click', () => choose(stream.id, shard.id, false));
        bar.append(piece);
      }
      figure.append(bar);
    }
    return figure;
  });
  byId('strips').replaceChildren(...drawn);
  byId('legend').replaceChildren(...[...owners, null].map((owner) => {
    const item = element('li', null);
    const mark = element('i', null);
    mark.style.background = color(owner, owners);
    item.append(mark, owner ?? 'nobody');
    return item;
  }));
}

function rows(group) {
  const order = byId('filter').value;
  let shown = shardsOf(group);
  if (order !== 'all') shown = shown.filter(({ shard }) => shard.state !== 'ended');
  if (order === 'standing') {
    shown.sort((a, b) => b.shard.stands - a.shard.stands || (b.shard.lag_ms ?? 0) - (a.shard.lag_ms ?? 0));
  }
  const several = group.streams.length > 1;
  const focused = document.activeElement?.dataset?.key;
  byId('shard-rows').replaceChildren(...shown.slice(0, ROWS).map(({ stream, shard }) => {
    const row = element('tr', null);
    const button = element('button', several ? `${stream.name} ${short(shard.id)}` : short(shard.id), { type: 'button' });
    button.dataset.key = `${stream.id} ${shard.id}`;
    button.addEventListener('click', () => choose(stream.id, shard.id, true));
    const first = element('td', null);
    first.append(button);
    row.append(first, element('td', shard.owner ?? 'nobody'), element('td', shard.state, shard.stands ? { class: 'bad' } : {}),
      element('td', span(shard.lag_ms)), element('td', shard.why ?? ''));
    return row;
  }));
  if (focused) byId('shard-rows').querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  byId('more').textContent = shown.length > ROWS ? `${shown.length - ROWS} more: \`rokini group show\` has them all` : '';
}

function choose(stream, shard, focus) {
  chosen = `${stream} ${shard}`;
  draw();
  if (focus) byId('why').focus();
  byId('why').scrollIntoView({ block: 'nearest' });
}

function why(group) {
  const found = shardsOf(group).find(({ stream, shard }) => chosen === `${stream.id} ${shard.id}`);
  byId('why').hidden = !found;
  if (!found) return;
  const { stream, shard } = found;
  byId('why-title').textContent = shard.id;
  const facts = [
    ['Stream', stream.name], ['Owner', shard.owner ?? 'nobody'], ['Goes to', shard.claim],
    ['Kept with', shard.pinned_to && `${shard.pinned_to}, by an operator`], ['State', shard.state],
    ['Why', shard.why ?? (shard.state === 'ended' ? 'it is read to its end' : 'it moves')],
    ['Lag', shard.lag_ms === null ? null : span(shard.lag_ms)],
    ['Record in hand', shard.record], ['Last error', shard.error], ['Its code', shard.error_code],
    ['Failures in a row', shard.failures || null], ['Keys parked', shard.parked || null],
    ['Position', shard.position], ['Stored', shard.stored_at ? new Date(shard.stored_at).toISOString() : null],
    ['Epoch', shard.epoch], ['Parents', shard.parents.join(', ')], ['Children', shard.children.join(', ')],
  ];
  byId('why-list').replaceChildren(...facts.filter(([, value]) => value !== null && value !== undefined && value !== '')
    .flatMap(([name, value]) => [element('dt', name), element('dd', String(value))]));
}

function workers(group) {
  const rank = { alive: 0, drained: 1, leaving: 1, dead: 2 };
  const shown = [...group.workers].sort((a, b) => rank[a.state] - rank[b.state] || a.name.localeCompare(b.name));
  byId('worker-rows').replaceChildren(...shown.map((worker) => {
    const row = element('tr', null);
    const late = worker.state === 'alive' && worker.failover_ms > 0 && worker.leases > 0 && worker.beat_ms > worker.failover_ms;
    const unable = (worker.unable.length ? `, cannot read ${worker.unable.join(', ')}` : '')
      + worker.troubles.map((trouble) => `; ${trouble}`).join('');
    row.append(element('td', worker.name + (worker.me ? ' (this one)' : '')),
      element('td', worker.state + unable, worker.state === 'alive' && !unable ? {} : { class: 'bad' }),
      element('td', String(worker.leases)),
      element('td', worker.beat_ms === null ? '–' : `${span(worker.beat_ms)} ago`, late ? { class: 'bad' } : {}),
      element('td', [worker.pid, worker.host].filter(Boolean).join(' on ') || '–'), element('td', worker.version));
    return row;
  }));
}

// What the worker that serves the page knows of its own shards by itself; without one, what all owners say of theirs.
function measure(group) {
  const lags = shardsOf(group).filter(({ shard }) => (group.worker ? shard.handled !== null : shard.lag_ms !== null));
  if (lags.length > 0) charts.lag.push(Math.max(...lags.map(({ shard }) => shard.lag_ms ?? 0)));
  // From one document to the next: what the shards that it had in both of them handled.
  const now = new Map(shardsOf(group).filter(({ shard }) => shard.handled !== null)
    .map(({ stream, shard }) => [`${stream.id} ${shard.id} ${shard.epoch}`, shard]));
  if (group.worker && before && group.at > before.at) {
    let records = 0;
    let handling = 0;
    for (const [key, shard] of now) {
      const then = before.shards.get(key);
      if (!then) continue;
      records += shard.handled - then.handled;
      handling += shard.handling_ms - then.handling_ms;
    }
    charts.rate.push(records / ((group.at - before.at) / 1000));
    charts.handler.push(records > 0 ? handling / records : 0);
  }
  before = { at: group.at, shards: now };
  for (const points of Object.values(charts)) if (points.length > POINTS) points.shift();
}

function drawCharts(group) {
  byId('chart-title').textContent = group.worker ? `${group.worker}, the last minutes` : 'The group, the last minutes';
  byId('events-title').textContent = group.worker ? `Events of ${group.worker}` : 'Events of the group';
  const shown = [['Greatest lag', charts.lag, (value) => span(value)]];
  // Rows do not say what their owners handle.
  if (group.worker) {
    shown.push(['Records a second', charts.rate, (value) => value.toFixed(value < 10 ? 1 : 0)],
      ['Handler, time a record', charts.handler, (value) => `${value.toFixed(value < 10 ? 2 : 0)} ms`]);
  }
  byId('charts').replaceChildren(...shown.map(([name, points, text]) => {
    const figure = element('figure', null);
    const last = points.length ? text(points[points.length - 1]) : '–';
    const most = Math.max(...points, 0);
    figure.append(element('figcaption', `${name}: ${last}`));
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('viewBox', '0 0 100 100');
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', `${name}: now ${last}, at most ${points.length ? text(most) : '–'} in the time shown`);
    // One value is a line too.
    const drawn = points.length === 1 ? [points[0], points[0]] : points;
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    const x = (index) => (100 * index) / Math.max(drawn.length - 1, 1);
    const y = (value) => 96 - (most > 0 ? (92 * value) / most : 0);
    path.setAttribute('d', drawn.map((value, index) => `${index ? 'L' : 'M'}${x(index).toFixed(2)} ${y(value).toFixed(2)}`).join(''));
    svg.append(path);
    figure.append(svg);
    return figure;
  }));
}

function draw() {
  if (!latest) return;
  summary(latest);
  strips(latest, ownersOf(latest));
  why(latest);
  rows(latest);
  workers(latest);
  drawCharts(latest);
}

function happened(event) {
  byId('no-events').hidden = true;
  const item = element('li', null);
  const at = new Date(event.at).toISOString();
  item.append(element('time', at.slice(11, 23), { datetime: at }), ` ${event.text}`);
  if (event.shard) item.append(` (${short(event.shard)})`);
  item.append(' ', element('span', event.code, { class: 'quiet', title: event.detail }));
  byId('events').prepend(item);
  while (byId('events').childElementCount > 200) byId('events').lastElementChild.remove();
}

byId('filter').addEventListener('change', draw);
byId('why-close').addEventListener('click', () => {
  const key = chosen;
  chosen = null;
  draw();
  byId('shard-rows').querySelector(`[data-key="${CSS.escape(key ?? '')}"]`)?.focus();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && chosen) byId('why-close').click();
});

const source = new EventSource('/events');
source.addEventListener('group', (event) => {
  latest = JSON.parse(event.data);
  measure(latest);
  draw();
});
source.addEventListener('happened', (event) => happened(JSON.parse(event.data)));
source.addEventListener('error', () => {
  byId('summary').textContent = 'no answer; trying again';
  byId('summary').className = 'bad';
});
