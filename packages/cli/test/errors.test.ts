import { testErrorCodes } from '@pulsebox/test-support';
import { cliErrorCodes } from '../src/cli-error.ts';

testErrorCodes({ room: 'packages/cli', prefix: 'CLI', codes: cliErrorCodes });
