// A file of items, imported again and again with other content.

import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requestImport } from '@pulsebox/imports';
import { transaction } from '@pulsebox/postgres';
import type { Pool } from 'pg';

export interface ImportsLoad {
  /** Asks for one more. */
  request(): Promise<void>;
  readonly requested: number;
}

export function importsLoad(pool: Pool, folder: string, rows: number): ImportsLoad {
  let requested = 0;
  return {
    get requested(): number {
      return requested;
    },
    async request(): Promise<void> {
      requested += 1;
      const filePath = `import-${requested}.ndjson`;
      const lines = Array.from(
        { length: rows },
        (_, n) =>
          `${JSON.stringify({
            canonical_id: `imported-${n}`,
            item: { name: `Row ${n}`, text: randomBytes(150).toString('base64'), import: requested },
          })}\n`,
      );
      await writeFile(join(folder, filePath), lines.join(''));
      await transaction(pool, async (client) => {
        await requestImport(client, { orgId: 'imports', filePath, deleteFile: true });
      });
    },
  };
}
