# One image for every process of Pulsebox: the three workers and the command `pulsebox`. Which one runs is the argument:
#
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) -t pulsebox:local .
#   docker run --read-only --tmpfs /tmp -e DATABASE_URL=… pulsebox:local                               worker
#   docker run --read-only --tmpfs /tmp -e DATABASE_URL=… pulsebox:local apps/push-worker/dist --loop  push-worker
#   docker run -e DATABASE_URL=… pulsebox:local packages/cli/bin/pulsebox.js migrate                   the command
#
# `npm run image:verify` builds it and starts everything in it. Nothing in the last stage needs a shell.

# Debian with Node 24 and npm. Builds that must be repeatable name it by digest: node:24-bookworm-slim@sha256:…
ARG NODE_IMAGE=node:24-bookworm-slim
# What the result stands on: needs `node` on its PATH and glibc, and nothing else.
ARG RUNTIME_IMAGE=${NODE_IMAGE}

FROM ${NODE_IMAGE} AS build
WORKDIR /src
# A static init: as process 1, Node would ignore a SIGTERM that comes before its handlers are set.
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/*
COPY . .
# Scripts of dependencies are not run: none that is needed here has one.
RUN npm ci --ignore-scripts --no-audit --no-fund \
  && node node_modules/typescript/bin/tsc -b apps/worker apps/push-worker apps/watch-worker packages/cli \
  && rm -rf node_modules \
  && npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
    -w apps/worker -w apps/push-worker -w apps/watch-worker -w packages/cli
# What runs, and no more; then one time for every file, so that the same commit gives the same layers.
RUN mkdir -p /out/dependencies/app /out/program/app \
  && find node_modules -type f \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.map' \
    -o -name '*.md' -o -name '*.markdown' -o -name '*.tsbuildinfo' \) -delete \
  && rm -f node_modules/.package-lock.json \
  && cp -a node_modules /out/dependencies/app/ \
  && for folder in $(cd node_modules/@pulsebox && for link in *; do readlink "$link"; done | sed 's|^\.\./\.\./||'); do \
    mkdir -p "/out/program/app/$folder"; \
    for part in package.json dist migrations bin; do \
      if [ -e "$folder/$part" ]; then cp -a "$folder/$part" "/out/program/app/$folder/"; fi; \
    done; \
  done \
  && find /out/program -type f \( -name '*.d.ts' -o -name '*.map' -o -name '.tsbuildinfo' \) -delete \
  && cp -a package.json LICENSE docker/healthcheck.mjs docker/wait-for.mjs /out/program/app/ \
  && chown -R 0:0 /out && chmod -R u=rwX,go=rX /out \
  && find /out -exec touch -h -d @0 {} +

FROM ${RUNTIME_IMAGE}
WORKDIR /app
# Three layers, the one that changes least first.
COPY --from=build /usr/bin/tini-static /sbin/tini
COPY --from=build /out/dependencies/ /
COPY --from=build /out/program/ /

ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=""
LABEL org.opencontainers.image.title="pulsebox" \
  org.opencontainers.image.description="Outbox workers on PostgreSQL: worker, push-worker, watch-worker and the command pulsebox." \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}" \
  org.opencontainers.image.created="${CREATED}" \
  org.opencontainers.image.source="${SOURCE}"
# glibc otherwise keeps an arena of memory for each of Node's threads.
ENV NODE_ENV=production \
  MALLOC_ARENA_MAX=2 \
  WORKER_COMMIT=${REVISION}

# A number: Kubernetes cannot tell whether a name is root.
USER 10001:10001
EXPOSE 9090 9091 9092
STOPSIGNAL SIGTERM
# For engines that look at it; Kubernetes has probes. Asks the worker that process 1 was told to run.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["node", "/app/healthcheck.mjs"]
ENTRYPOINT ["/sbin/tini", "--", "node"]
CMD ["apps/worker/dist", "--loop"]
