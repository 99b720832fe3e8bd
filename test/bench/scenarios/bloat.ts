import type { Scenario } from '../harness/scenario.ts'; export const bloat: Scenario = { name: 'bloat', summary: '', run: async () => ({ title: '', goals: [], tables: [], notes: [], data: {} }) };
