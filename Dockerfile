# The image of HAPTIC in all of its roles: the controller, and the agent beside an HAProxy.
#
#   docker build --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t haptic:0.1.0 .
#
# HAProxy in it, which checks every configuration, is that of HAPROXY_IMAGE: name the image that the HAProxy pods run, then
# both are the same program. It must be built for Debian 13, as this image is.
ARG HAPROXY_IMAGE=docker.io/library/haproxy:3.4-trixie
ARG BASE_IMAGE=docker.io/library/debian:trixie-slim

FROM ${HAPROXY_IMAGE} AS haproxy

FROM ${BASE_IMAGE} AS build
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends \
    cmake gcc libc6-dev libcurl4-openssl-dev libedit-dev libgnutls28-dev liblz4-dev libluajit-5.1-dev libmicrohttpd-dev libpcre2-dev \
    libseccomp-dev libssl-dev libuv1-dev libyaml-dev libyyjson-dev lua-cjson lua-cjson-dev luajit ninja-build pkg-config zlib1g-dev
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY core core
COPY lua lua
COPY templates templates
# A newer compiler may warn of more than the one of the checks. The seed makes the names that the link-time optimiser invents the same in each build.
RUN cmake --preset release -DHAPTIC_TESTS=OFF -DHAPTIC_WERROR=OFF -DCMAKE_C_FLAGS=-frandom-seed=haptic \
    && cmake --build --preset release \
    && strip -o /haptic build/release/core/haptic

FROM ${BASE_IMAGE}
ARG SOURCE_DATE_EPOCH=0
ARG VERSION=0.1.0
ARG REVISION=unknown
# Libraries that the HAProxy of HAPROXY_IMAGE needs beyond those that the official one does.
ARG HAPROXY_PACKAGES=
# What the packages' installation leaves with the time of day in it goes, so that the same sources give the same image.
RUN export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
       ca-certificates libcrypt1 libcurl4t64 libedit2 libgnutls30t64 liblua5.4-0 libluajit-5.1-2 liblz4-1 libmicrohttpd12t64 libpcre2-8-0 libseccomp2 \
       libssl3t64 libuv1t64 libyaml-0-2 libyyjson0 tini wget zlib1g ${HAPROXY_PACKAGES} \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/log/* \
       /var/lib/dpkg/*-old /etc/*- /tmp/* /run/* \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
COPY --from=haproxy /usr/local/sbin/haproxy /usr/local/sbin/haproxy
COPY --from=build /haptic /usr/local/bin/haptic
LABEL org.opencontainers.image.title="haptic" \
      org.opencontainers.image.description="Ingress controller for HAProxy with Lua templates" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, so that "runAsNonRoot" can be checked. Nothing below / needs to be writable but --haproxy-dir and /tmp.
USER 65532:65532
WORKDIR /
EXPOSE 9090
# tini passes signals on and takes in what orphaned processes of HAProxy leave.
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/haptic"]
CMD ["run"]
