// What is searched, declared: which view the documents come from, and which events say that one has changed.

/** How an index treats the attributes of its documents. An attribute is a path: `name`, `address.city`. */
export interface ProjectionSettings {
  /** What words are looked for in, most important first. At least one. */
  readonly searchable: readonly string[];
  /** What a search may be narrowed by, besides the organisation. */
  readonly filterable: readonly string[];
  /** What results may be sorted by. */
  readonly sortable: readonly string[];
}

export interface Projection {
  /** For people and for the metrics: lower-case letters, digits and hyphens. */
  readonly name: string;
  /** The index in the sink: letters, digits, `_` and `-`. */
  readonly index: string;
  /** `schema.view` with the columns `id`, `organisation`, `document` and `deleted`. */
  readonly view: string;
  /** Events with these topics say that the row named in their payload has changed. */
  readonly topics: readonly string[];
  /** Where in the payload the row's id stands: `note_id`, `note.id`. */
  readonly idPath: string;
  readonly settings: ProjectionSettings;
}

/** What the view's column `id` holds. */
export type IdType = 'uuid' | 'text' | 'bigint' | 'integer';

/** A projection whose view was found in the database with the right columns. */
export interface VerifiedProjection extends Projection {
  readonly idType: IdType;
}

export interface ShippedProjectionOptions {
  /** Default `items`. */
  readonly itemsIndex?: string | undefined;
  /** Default `files`. */
  readonly filesIndex?: string | undefined;
  /** Default `mail`. */
  readonly mailIndex?: string | undefined;
}

/** Items and files of the application that Pulsebox ships with, and the mail that its mailboxes bring. */
export function shippedProjections(options: ShippedProjectionOptions = {}): readonly Projection[] {
  return [
    {
      name: 'items',
      index: options.itemsIndex ?? 'items',
      view: 'search.item_documents',
      topics: ['item.upserted', 'item.archived'],
      idPath: 'item_id',
      settings: {
        searchable: ['name', 'canonical_id', 'text', 'data'],
        filterable: ['canonical_id'],
        sortable: ['name', 'created_at', 'updated_at'],
      },
    },
    {
      name: 'files',
      index: options.filesIndex ?? 'files',
      view: 'search.file_documents',
      topics: ['file.upserted', 'file.archived'],
      idPath: 'file_id',
      settings: {
        searchable: ['name', 'canonical_id', 'text', 'data'],
        filterable: ['canonical_id', 'item_id', 'media_type'],
        sortable: ['name', 'size_bytes', 'created_at', 'updated_at'],
      },
    },
    {
      name: 'mail',
      index: options.mailIndex ?? 'mail',
      view: 'app.mail_documents',
      // A message is an item like any other to whoever listens; its events name it by an id of its own.
      topics: ['item.upserted', 'item.archived'],
      idPath: 'mail_id',
      settings: {
        searchable: ['subject', 'sender', 'recipients', 'text', 'snippet'],
        filterable: ['user_id', 'connection_id', 'mailbox', 'thread_id', 'labels'],
        sortable: ['sent_at'],
      },
    },
  ];
}
