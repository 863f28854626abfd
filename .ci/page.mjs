// Drives the page of a worker in headless Chromium: node page.mjs URL DIRECTORY [DIRECTORY_FOR_PICTURES]
// DIRECTORY has node_modules with playwright-core and axe-core.
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const [url, directory, pictures] = process.argv.slice(2);
const require = createRequire(`${directory}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: flags });

for (const [width, height] of [[400, 800], [1280, 900], [3840, 2160]]) {
  for (const colorScheme of ['light', 'dark']) {
    const name = `${width}-${colorScheme}`;
    // axe is put in by the test, which the page's own policy would refuse.
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
    const page = await context.newPage();
    const foreign = [];
    page.on('request', (request) => { if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url()); });
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
    await page.goto(url);
    await page.waitForFunction(() => document.querySelectorAll('#shard-rows tr').length >= 4);
    await page.waitForFunction(() => /records a second: \d/i.test(document.querySelector('#charts').textContent));
    const text = await page.textContent('#summary');
    assert.match(text, /shards · 1 worker · none stands still/, `${name}: ${text}`);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wider, 0, `${name}: the page scrolls sideways`);

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

    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run());
    const serious = found.violations.filter((violation) => ['serious', 'critical'].includes(violation.impact));
    assert.deepEqual(serious.map((violation) => `${violation.id}: ${violation.nodes[0].html}`), [], name);
    assert.deepEqual(foreign, [], `${name}: from elsewhere`);
    assert.deepEqual(errors, [], name);
    if (pictures) await page.screenshot({ path: `${pictures}/page-${name}.png` });
    await context.close();
    console.log(`${name}: ${found.passes.length} rules of axe pass, ${found.violations.length} minor findings`);
  }
}
await browser.close();
