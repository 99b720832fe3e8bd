// What the exit code of pulsebox says to a script. Documented in `pulsebox --help` and the README.

export const exitCodes = {
  /** Done; or the answer is yes. */
  ok: 0,
  /** The check says no, or the work could not be done. */
  no: 1,
  /** The command line, the configuration, or the state of the database does not allow the command. */
  usage: 2,
  /** The database, or the search engine where it is asked, cannot be reached at present. Try again later. */
  away: 3,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const EXIT_CODES_HELP = `Exit codes:
  0    done, or the answer is yes
  1    the check says no (pending migrations, problems found), or the work could not be done
  2    a fault in the command line, in the configuration, or a database without Pulsebox's tables
  3    the database, or Meilisearch where it is asked, is away: worth trying again later
  130  ended by Ctrl-C`;
