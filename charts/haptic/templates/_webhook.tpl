{{/* The admission webhook's names. */}}
{{- define "haptic.webhookName" -}}
{{- printf "%s-webhook" (include "haptic.fullname" .) -}}
{{- end }}

{{/* The Secret with its certificates. */}}
{{- define "haptic.webhookSecret" -}}
{{- .Values.controller.webhook.secretName | default (printf "%s-tls" (include "haptic.webhookName" .)) -}}
{{- end }}

{{- define "haptic.webhookConfiguration" -}}
{{- printf "%s-webhook" (include "haptic.clusterName" .) -}}
{{- end }}

{{/* What the controller is told. */}}
{{- define "haptic.webhookArgs" -}}
{{- with .Values.controller.webhook -}}
{{- if .secretName }}
- --webhook-cert-dir=/etc/haptic-webhook
{{- else }}
- --webhook-secret={{ include "haptic.webhookSecret" $ }}
- --webhook-service={{ include "haptic.webhookName" $ }}
- --webhook-configuration={{ include "haptic.webhookConfiguration" $ }}
{{- end }}
- --webhook-port={{ .port }}
- --webhook-resource-admission-timeout={{ sub .timeoutSeconds 1 }}s
- --webhook-failure-policy={{ .failurePolicy }}
{{- if .haproxyTemplateConfig.enabled }}
- --webhook-token-file=/etc/haptic-webhook-token/token
- --webhook-configuration-admission-timeout={{ sub .haproxyTemplateConfig.timeoutSeconds 1 }}s
{{- end }}
{{- end -}}
{{- end }}

{{/* The kinds that are judged: what the configuration says, and Ingresses where it says nothing of them. */}}
{{- define "haptic.webhookKinds" -}}
{{- $kinds := (include "haptic.config" . | fromYaml).watchedResources | default dict -}}
{{- $judged := dict -}}
{{- if not (hasKey $kinds "ingresses") -}}
{{- $_ := set $judged "ingresses" (dict "apiVersion" "networking.k8s.io/v1" "resources" "ingresses") -}}
{{- end -}}
{{- range $name, $kind := $kinds -}}
{{- if and (kindIs "map" $kind) (or $kind.enableValidationWebhook $kind.enable_validation_webhook) -}}
{{- $_ := set $judged $name $kind -}}
{{- end -}}
{{- end -}}
{{- toYaml $judged -}}
{{- end }}

{{/* Whose namespaces. */}}
{{- define "haptic.webhookNamespaces" -}}
{{- if .Values.controller.webhook.namespaceSelector -}}
{{- toYaml .Values.controller.webhook.namespaceSelector -}}
{{- else if .Values.controller.rbac.namespaces -}}
matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: In, values: {{ .Values.controller.rbac.namespaces | uniq | sortAlpha | toJson }}}
{{- else -}}
matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ list "kube-system" .Release.Namespace | uniq | toJson }}}
{{- end -}}
{{- end }}
