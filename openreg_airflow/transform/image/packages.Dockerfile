# A sandbox image with a report's packages, on top of the sandbox image. pip runs out of its own
# wheel as it does there, checks that every package finds what it needs in the set, and is gone.
ARG BASE

FROM ${BASE}
USER 0:0
COPY wheels /wheels
RUN /opt/openreg/bin/python "$(echo /wheels/pip-*.whl)/pip" install --no-index --no-deps \
        --no-compile --no-cache-dir --disable-pip-version-check --root-user-action ignore --quiet \
        $(ls -d /wheels/*.whl | grep -v '^/wheels/pip-') \
    && /opt/openreg/bin/python "$(echo /wheels/pip-*.whl)/pip" check --disable-pip-version-check \
    && find /opt/openreg/lib -name '*.py' -newer /opt/openreg/pyvenv.cfg -cnewer /wheels \
        > /tmp/installed \
    && /opt/openreg/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        -i /tmp/installed \
    && rm -rf /wheels /tmp/installed
USER 65534:65534
