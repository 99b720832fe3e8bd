// What came of the tests and the checks: the tests that needed a second try, each by name, then a line for machines.

import { readFileSync } from 'node:fs';

const [report, ...exits] = process.argv.slice(2);
const [tests, checks] = exits.map(Number);
const { numPassedTests, numFailedTests, numFailedTestSuites, testResults } = JSON.parse(
  readFileSync(report, 'utf8'),
);

for (const { name, assertionResults } of testResults) {
  for (const { status, fullName, failureMessages } of assertionResults) {
    // The failures of one that has passed are those of its first try.
    if (status !== 'passed' || failureMessages.length === 0) continue;
    say(`passed only at the second try: ${name.slice(process.cwd().length + 1)} > ${fullName}`);
    const lines = failureMessages.join('\n').split('\n');
    for (const line of lines) if (!line.includes('node_modules')) say(`    ${line}`);
  }
}
if (checks !== 0) say('the static checks failed; see above');
// A file that does not load, a leaked process or a failed check counts as a failure too.
const failed = numFailedTests || (tests !== 0 || numFailedTestSuites > 0 ? 1 : 0);
say(`${numPassedTests} passed, ${failed + (checks === 0 ? 0 : 1)} failed`);

function say(line) {
  process.stdout.write(`${line}\n`);
}
