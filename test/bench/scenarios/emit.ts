import type { Scenario } from '../harness/scenario.ts'; export const emit: Scenario = { name: 'emit', summary: '', run: async () => ({ title: '', goals: [], tables: [], notes: [], data: {} }) };
