import { freePort, runReadme } from '@pulsebox/test-support';
import { expect, test } from 'vitest';

test('what the README shows works as it stands', async () => {
  expect(await runReadme('packages/postgres', { PORT: String(await freePort()) })).toEqual({
    status: 0,
    stdout: 'reported under token 1\n',
    stderr: '',
  });
});
