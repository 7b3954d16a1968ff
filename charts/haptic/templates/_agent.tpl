{{/* The container of the agent, beside HAProxy. */}}
{{- define "haptic.agentContainer" -}}
{{- $agent := .Values.haproxy.agent -}}
- name: agent
  image: {{ include "haptic.image" (list . .Values.controller.image .Chart.AppVersion) | quote }}
  imagePullPolicy: {{ .Values.controller.image.pullPolicy }}
  {{- if $agent.nativeSidecar }}
  # A sidecar: it starts before HAProxy, and ends after it.
  restartPolicy: Always
  {{- end }}
  args:
    - agent
    - --attach
    - --directory=/run/haptic/haproxy
    - --listen=*:5555
    - --status-listen=*:5557
    - --minimal-bind=*:8404
    - --tls-cert=/etc/haptic/tls/tls.crt
    - --tls-key=/etc/haptic/tls/tls.key
    - --client-ca=/etc/haptic/tls/ca.crt
    - --log-level={{ $agent.logLevel }}
  {{- with $agent.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: agent
      containerPort: 5555
      protocol: TCP
    - name: agent-status
      containerPort: 5557
      protocol: TCP
  # There is a configuration that HAProxy can start with.
  startupProbe:
    httpGet:
      path: /startz
      port: agent-status
    periodSeconds: 1
    failureThreshold: 120
  # HAProxy serves what was last accepted.
  readinessProbe:
    httpGet:
      path: /readyz
      port: agent-status
    periodSeconds: 2
    failureThreshold: 3
  livenessProbe:
    httpGet:
      path: /healthz
      port: agent-status
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  resources:
    {{- toYaml $agent.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.haproxy.securityContext | nindent 4 }}
  {{- if not $agent.nativeSidecar }}
  lifecycle:
    preStop:
      # HAProxy may be told things until it ends.
      exec:
        command: [sleep, {{ .Values.haproxy.drainSeconds | quote }}]
  {{- end }}
  volumeMounts:
    - name: run
      mountPath: /run/haptic
    - name: tmp
      mountPath: /tmp
    - name: tls
      mountPath: /etc/haptic/tls
      readOnly: true
{{- end }}
