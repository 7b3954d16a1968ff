{{/* How controllers and HAProxy come together, in one place: pods of HAProxy, each with an agent that takes what the controller that
leads offers; both know each other by certificates. */}}

{{/* The component whose pods take the traffic. */}}
{{- define "haptic.trafficComponent" -}}loadbalancer{{- end }}

{{/* The ports that HAProxy listens at. */}}
{{- define "haptic.port.http" -}}{{ and .Values.haproxy.hostNetwork .Values.haproxy.hostPorts.http | default 8080 }}{{- end }}
{{- define "haptic.port.https" -}}{{ and .Values.haproxy.hostNetwork .Values.haproxy.hostPorts.https | default 8443 }}{{- end }}

{{/* The Secret with the certificates of controllers and agents; the agents' part of it; and the controllers', where somebody else makes them. */}}
{{- define "haptic.fleetSecret" -}}{{ include "haptic.fullname" . }}-fleet{{- end }}
{{- define "haptic.agentTlsVolume" -}}
- name: tls
  secret:
    defaultMode: 0440
    {{- if .Values.haproxy.agent.tls.managed }}
    secretName: {{ include "haptic.fleetSecret" . }}
    items:
      - {key: ca.crt, path: ca.crt}
      - {key: agent.crt, path: tls.crt}
      - {key: agent.key, path: tls.key}
    {{- else }}
    secretName: {{ .Values.haproxy.agent.tls.serverSecretName }}
    items:
      - {key: ca.crt, path: ca.crt}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
    {{- end }}
{{- end }}

{{/* The Secret with the certificate for clients that ask for no known host, and whether it is made here ("": no). */}}
{{- define "haptic.defaultSecret" -}}
{{- .Values.defaultSSLCertificate.secretName | default (printf "%s-default-certificate" (include "haptic.fullname" .)) -}}
{{- end }}
{{- define "haptic.makesDefault" -}}
{{- if and .Values.https.enabled (not .Values.defaultSSLCertificate.secretName) (not .Values.defaultSSLCertificate.certManager.enabled) -}}yes{{- end -}}
{{- end }}

{{/* The selector of HAProxy's pods as one text. */}}
{{- define "haptic.selectorTerms" -}}
{{- $terms := list -}}
{{- range $key, $value := include "haptic.selector" (list . "loadbalancer") | fromYaml -}}
{{- $terms = append $terms (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- $terms | sortAlpha | join "," -}}
{{- end }}

{{/* What "haptic run" is told about HAProxy. */}}
{{- define "haptic.haproxyArgs" -}}
- --haproxy=fleet
- --haproxy-dir=/run/haptic/haproxy
- --member-selector={{ include "haptic.selectorTerms" . }}
- --member-port=5555
- --agent-name={{ .Values.haproxy.agent.tls.serverName }}
{{- if .Values.haproxy.agent.tls.managed }}
- --fleet-secret={{ include "haptic.fleetSecret" . }}
{{- else }}
- --fleet-ca=/etc/haptic-tls/ca.crt
- --fleet-cert=/etc/haptic-tls/tls.crt
- --fleet-key=/etc/haptic-tls/tls.key
{{- end }}
{{- end }}

{{/* The container that makes the default certificate where nobody else does. */}}
{{- define "haptic.certificateContainer" -}}
- name: default-certificate
  image: {{ include "haptic.image" (list . .Values.controller.image .Chart.AppVersion) | quote }}
  imagePullPolicy: {{ .Values.controller.image.pullPolicy }}
  command: [/bin/sh, /etc/haptic/default-certificate.sh]
  env:
    - name: POD_NAMESPACE
      valueFrom:
        fieldRef:
          fieldPath: metadata.namespace
    - name: DEFAULT_SECRET
      value: {{ include "haptic.defaultSecret" . }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.controller.securityContext | nindent 4 }}
  volumeMounts:
    - name: config
      mountPath: /etc/haptic
      readOnly: true
    - name: tmp
      mountPath: /tmp
    - name: token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
{{- end }}
