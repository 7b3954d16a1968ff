{{/* How controllers and HAProxy come together, in one place: pods of HAProxy, each with an agent that takes what the controller that
leads offers; both know each other by certificates. */}}

{{/* The component whose pods take the traffic. */}}
{{- define "haptic.trafficComponent" -}}loadbalancer{{- end }}

{{/* The Secrets with certificates: the agents' and the controllers'. */}}
{{- define "haptic.serverSecret" -}}
{{- .Values.haproxy.agent.tls.serverSecretName | default (printf "%s-agent" (include "haptic.fullname" .)) -}}
{{- end }}
{{- define "haptic.clientSecret" -}}
{{- .Values.haproxy.agent.tls.clientSecretName | default (printf "%s-agent-client" (include "haptic.fullname" .)) -}}
{{- end }}

{{/* The Secret with the certificate for clients that ask for no known host, and whether it is made here ("": no). */}}
{{- define "haptic.defaultSecret" -}}
{{- .Values.defaultSSLCertificate.secretName | default (printf "%s-default-certificate" (include "haptic.fullname" .)) -}}
{{- end }}
{{- define "haptic.makesDefault" -}}
{{- if and .Values.https.enabled (not .Values.defaultSSLCertificate.secretName) -}}yes{{- end -}}
{{- end }}

{{/* Are any certificates made by the controller's pods? */}}
{{- define "haptic.makesCertificates" -}}
{{- if or .Values.haproxy.agent.tls.managed (include "haptic.makesDefault" .) -}}yes{{- end -}}
{{- end }}

{{/* What "haptic run" is told about HAProxy. */}}
{{- define "haptic.haproxyArgs" -}}
{{- $labels := include "haptic.selector" (list . "loadbalancer") | fromYaml -}}
{{- $terms := list -}}
{{- range $key, $value := $labels -}}
{{- $terms = append $terms (printf "%s=%s" $key $value) -}}
{{- end -}}
- --haproxy=fleet
- --haproxy-dir=/run/haptic/haproxy
- --member-selector={{ $terms | sortAlpha | join "," }}
- --member-port=5555
- --agent-name={{ .Values.haproxy.agent.tls.serverName }}
- --fleet-ca=/etc/haptic-tls/ca.crt
- --fleet-cert=/etc/haptic-tls/tls.crt
- --fleet-key=/etc/haptic-tls/tls.key
{{- end }}

{{/* The container that makes the certificates where nobody else does. */}}
{{- define "haptic.certificatesContainer" -}}
- name: certificates
  image: {{ include "haptic.image" (list . .Values.controller.image .Chart.AppVersion) | quote }}
  imagePullPolicy: {{ .Values.controller.image.pullPolicy }}
  command: [/bin/sh, /etc/haptic/certificates.sh]
  env:
    - name: POD_NAMESPACE
      valueFrom:
        fieldRef:
          fieldPath: metadata.namespace
    {{- if .Values.haproxy.agent.tls.managed }}
    - name: CLIENT_SECRET
      value: {{ include "haptic.clientSecret" . }}
    - name: SERVER_SECRET
      value: {{ include "haptic.serverSecret" . }}
    - name: SERVER_NAME
      value: {{ .Values.haproxy.agent.tls.serverName }}
    - name: CERTIFICATES
      value: /etc/haptic-tls
    {{- end }}
    {{- if include "haptic.makesDefault" . }}
    - name: DEFAULT_SECRET
      value: {{ include "haptic.defaultSecret" . }}
    {{- end }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- include "haptic.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: config
      mountPath: /etc/haptic
      readOnly: true
    {{- if .Values.haproxy.agent.tls.managed }}
    - name: tls
      mountPath: /etc/haptic-tls
    {{- end }}
    - name: tmp
      mountPath: /tmp
    - name: token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
{{- end }}

{{- define "haptic.tlsVolume" -}}
- name: tls
  {{- if .Values.haproxy.agent.tls.managed }}
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
  {{- else }}
  secret:
    secretName: {{ include "haptic.clientSecret" . }}
    defaultMode: 0440
    items:
      - key: ca.crt
        path: ca.crt
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
  {{- end }}
{{- end }}

{{/* What a container may do: nothing that needs a right. */}}
{{- define "haptic.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}
