// Drives the pages of a worker, of `group page`, and of the local Kinesis in headless Chromium:
//   node page.mjs URL_OF_WORKER URL_OF_GROUP URL_OF_KINESIS DIRECTORY [DIRECTORY_FOR_PICTURES]
// DIRECTORY has node_modules with playwright-core and axe-core.
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const [worker, group, kinesis, directory, pictures] = process.argv.slice(2);
const require = createRequire(`${directory}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: flags });

async function onWorker(page, name) {
  await page.waitForFunction(() => document.querySelectorAll('#shard-rows tr').length >= 4);
  await page.waitForFunction(() => /records a second: \d/i.test(document.querySelector('#charts').textContent));
  const text = await page.textContent('#summary');
  assert.match(text, /shards · 1 worker · none stands still/, `${name}: ${text}`);

  // By keyboard alone: the first shard's button, its reason, and back.
  await page.focus('#shard-rows button');
  await page.keyboard.press('Enter');
  assert.match(await page.textContent('#why-list'), /Why/);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'why');
  await page.keyboard.press('Escape');
  assert.equal(await page.isHidden('#why'), true);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'BUTTON');
  // By pointer: a piece of the strip.
  await page.click('.bar span >> nth=-1');
  assert.equal(await page.isVisible('#why'), true);
}

// A group of three shards: one is paused, one waits for acknowledgements that do not come, one is well.
async function onGroup(page, name) {
  const states = () => page.$$eval('#shard-rows tr', (rows) => rows.map((row) => row.children[2].textContent).sort());
  await page.waitForFunction(() => /2 do not move/.test(document.querySelector('#summary').textContent));
  assert.deepEqual(await states(), ['paused', 'reading', 'stalled'], name);
  const rows = await page.textContent('#shard-rows');
  assert.ok(rows.includes('an operator paused this shard') && rows.includes('its handler does not acknowledge its records'), `${name}: ${rows}`);
  // No worker serves it: what only one would know is not shown, and nothing is said in the name of one.
  assert.equal(await page.textContent('#chart-title'), 'The group, the last minutes');
  assert.equal(await page.textContent('#events-title'), 'Events of the group');
  const charts = await page.$$eval('#charts figcaption', (captions) => captions.map((caption) => caption.textContent));
  assert.equal(charts.length, 1, `${name}: ${charts}`);
  // That of the shard which stalls, not 0.
  assert.match(charts[0], /^Greatest lag: [1-9][\d.]* (s|min|h)$/, name);
  await page.click('.bar span.bad >> nth=0');
  assert.equal(await page.isVisible('#why'), true);
}

async function onKinesis(page, name) {
  // The stream with one record of each kind.
  const option = page.locator('#stream option', { hasText: 'kinds' });
  await option.waitFor({ state: 'attached' });
  await page.selectOption('#stream', await option.getAttribute('value'));
  await page.waitForFunction(() => document.querySelectorAll('#shard-rows tr').length === 1);
  await page.click('#shard-rows button');
  await page.waitForFunction(() => document.querySelectorAll('#record-rows tr').length === 5);
  const kinds = await page.$$eval('#record-rows tr td:nth-child(3)', (cells) => cells.map((cell) => cell.textContent));
  assert.deepEqual(kinds, ['KPL, 2 records', 'gzip, JSON', 'hex', 'JSON', 'text'], name);
  const data = await page.textContent('#record-rows');
  for (const shown of ['a plain line', '"order": 7', '00 ff 10', '"inside": true', 'packed one', 'packed two']) {
    assert.ok(data.includes(shown), `${name}: ${shown} is not shown in ${data}`);
  }
  await page.keyboard.press('Escape');
  assert.equal(await page.isHidden('#records'), true);

  // The stream with a consumer and a queue.
  const jobs = await page.locator('#stream option', { hasText: 'jobs' }).getAttribute('value');
  await page.selectOption('#stream', jobs);
  const cells = (rows) => page.$$eval(`${rows} tr`, (all) => all.map((one) => [...one.cells].map((cell) => cell.textContent)));
  await page.waitForFunction(() => document.querySelector('#queue-rows').textContent.includes('work'));
  assert.deepEqual(await cells('#consumer-rows'), [['archive', 'ACTIVE', '–']], name);
  assert.deepEqual(await cells('#queue-rows'), [['work', 'ACTIVE', '2', '1', '0']], name);

  const orders = await page.locator('#stream option', { hasText: 'orders' }).getAttribute('value');
  await page.selectOption('#stream', orders);
  await page.waitForFunction(() => document.querySelectorAll('#shard-rows tr').length === 6);
  await page.waitForFunction(() => /[1-9]/.test(document.querySelector('#shard-rows td:nth-child(5)').textContent));
  assert.equal(await page.locator('.bar').count(), 2, `${name}: a closed shard stands above its children`);

  // By keyboard alone: a shard's records, and back; a rule, and away with it; the clock.
  await page.focus('#shard-rows button');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.id === 'records');
  await page.waitForFunction(() => document.querySelectorAll('#record-rows tr').length > 0);
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'BUTTON');
  await page.selectOption('#fault-operation', 'ReceiveQueueRecords');
  await page.check('#fault-here');
  await page.focus('#fault-form button');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('#fault-rows tr').length === 1);
  // A stream of the same name elsewhere is another one.
  assert.match(await page.textContent('#fault-rows'), /^ReceiveQueueRecords on orders \(us-east-1, 0{12}\): throttle/, name);
  await page.focus('#fault-rows button');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('#fault-rows tr').length === 0);
  const moved = () => page.evaluate(() => Number(/moved by (-?\d+)/.exec(document.querySelector('#clock').textContent)?.[1] ?? 0));
  const before = await moved();
  await page.fill('#clock-amount', '2');
  await page.selectOption('#clock-unit', '1000');
  await page.focus('#clock-form button');
  await page.keyboard.press('Enter');
  await page.waitForFunction((wanted) => document.querySelector('#clock').textContent.includes(`moved by ${wanted} s`), before + 2);
  // By pointer: a piece of the strip.
  await page.click('.bar span >> nth=-1');
  assert.equal(await page.isVisible('#records'), true);
  await page.waitForFunction(() => document.querySelectorAll('#record-rows tr').length > 0);
}

for (const [which, url, act] of [['page', worker, onWorker], ['group', group, onGroup], ['local', kinesis, onKinesis]]) {
  for (const [width, height] of [[400, 800], [1280, 900], [3840, 2160]]) {
    for (const colorScheme of ['light', 'dark']) {
      const name = `${which}-${width}-${colorScheme}`;
      // axe is put in by the test, which the page's own policy would refuse.
      const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
      const page = await context.newPage();
      const foreign = [];
      page.on('request', (request) => { if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url()); });
      const errors = [];
      page.on('pageerror', (error) => errors.push(String(error)));
      page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
      await page.goto(url);
      await act(page, name);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(wider, 0, `${name}: the page scrolls sideways`);

      await page.evaluate(axe);
      const found = await page.evaluate(() => globalThis.axe.run());
      const serious = found.violations.filter((violation) => ['serious', 'critical'].includes(violation.impact));
      assert.deepEqual(serious.map((violation) => `${violation.id}: ${violation.nodes[0].html}`), [], name);
      assert.deepEqual(foreign, [], `${name}: from elsewhere`);
      assert.deepEqual(errors, [], name);
      if (pictures) {
        await page.evaluate(() => globalThis.scrollTo(0, 0));
        await page.screenshot({ path: `${pictures}/${name}.png` });
      }
      await context.close();
      console.log(`${name}: ${found.passes.length} rules of axe pass, ${found.violations.length} minor findings`);
    }
  }
}
await browser.close();
