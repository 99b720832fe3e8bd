import type { Scenario } from '../harness/scenario.ts'; export const memory: Scenario = { name: 'memory', summary: '', run: async () => ({ title: '', goals: [], tables: [], notes: [], data: {} }) };
