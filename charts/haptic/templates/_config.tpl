{{/* The controller's configuration file: what the values say, and what follows from other values. */}}

{{/* The kinds that the built-in library reads, when only some namespaces are followed. */}}
{{- define "haptic.kindsOfNamespaces" -}}
{{- $namespaces := .Values.controller.rbac.namespaces -}}
ingressclasses: null
ingresses:
  apiVersion: networking.k8s.io/v1
  resources: ingresses
  indexBy: [metadata.namespace, metadata.name]
  namespaces: {{ toJson $namespaces }}
  {{- if .Values.controller.webhook.enabled }}
  enableValidationWebhook: true
  {{- end }}
services:
  apiVersion: v1
  resources: services
  indexBy: [metadata.namespace, metadata.name]
  {{- with include "haptic.publishedService" . }}
  namespaces: {{ append $namespaces (splitList "/" . | first) | uniq | sortAlpha | toJson }}
  {{- else }}
  namespaces: {{ toJson $namespaces }}
  {{- end }}
endpoints:
  apiVersion: discovery.k8s.io/v1
  resources: endpointslices
  indexBy: [metadata.namespace, 'metadata.labels.kubernetes\.io/service-name']
  namespaces: {{ toJson $namespaces }}
{{- end }}

{{/* Whether there are files for the controller's pods: the configuration, or the script that makes the default certificate. */}}
{{- define "haptic.hasFiles" -}}
{{- if or (not .Values.controller.configResource.enabled) (include "haptic.makesDefault" .) -}}yes{{- end -}}
{{- end }}

{{/* The Service whose addresses stand in the status of Ingresses; empty: none. */}}
{{- define "haptic.publishedService" -}}
{{- with .Values.controller.ingressStatus -}}
{{- if .enabled -}}
{{- if .publishService -}}
{{- .publishService -}}
{{- else if not (or .publishAddresses .publishNodes) -}}
{{- printf "%s/%s-haproxy" $.Release.Namespace (include "haptic.fullname" $) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Secrets with certificates, and no others unless they are asked for. */}}
{{- define "haptic.kindOfCertificates" -}}
apiVersion: v1
resources: secrets
indexBy: [metadata.namespace, metadata.name]
{{- if eq .Values.https.secrets "tls" }}
fieldSelector: type=kubernetes.io/tls
{{- else if eq .Values.https.secrets "referenced" }}
watch: referenced
{{- end }}
{{- with .Values.controller.rbac.namespaces }}
namespaces: {{ append . $.Release.Namespace | uniq | sortAlpha | toJson }}
{{- end }}
{{- end }}

{{/* The pods of HAProxy: their nodes are those that can be published. */}}
{{- define "haptic.kindOfPods" -}}
apiVersion: v1
resources: pods
indexBy: [metadata.namespace, metadata.name]
namespaces: [{{ .Release.Namespace }}]
labelSelector: {{ include "haptic.selectorTerms" . }}
{{- end }}

{{- define "haptic.config" -}}
{{- $config := deepCopy .Values.controller.config -}}
{{- $settings := dict "ingress_class" .Values.ingressClass.name "controller_name" .Values.ingressClass.controllerName
      "http_port" (include "haptic.port.http" . | int) "status_port" 8404 -}}
{{- $classes := list -}}
{{- range .Values.ingressClass.further -}}
{{- $class := dict -}}
{{- with .name }}{{ $_ := set $class "name" . }}{{ end -}}
{{- with .controllerName }}{{ $_ := set $class "controller" . }}{{ end -}}
{{- with .status }}{{ $_ := set $class "status" . }}{{ end -}}
{{- with .defaults }}{{ $_ := set $class "defaults" . }}{{ end -}}
{{- $classes = append $classes $class -}}
{{- end -}}
{{- if $classes -}}
{{- $_ := set $settings "ingress_classes" $classes -}}
{{- end -}}
{{- if .Values.https.enabled -}}
{{- $_ := set $settings "https_port" (include "haptic.port.https" . | int) -}}
{{- $_ := set $settings "default_certificate" (printf "%s/%s" (.Values.defaultSSLCertificate.namespace | default .Release.Namespace) (include "haptic.defaultSecret" .)) -}}
{{- end -}}
{{- if and .Values.https.enabled .Values.https.http3 -}}
{{- $_ := set $settings "http3" true -}}
{{- end -}}
{{- with .Values.https.acme -}}
{{- if .directory -}}
{{- $_ := set $settings "acme_directory" .directory -}}
{{- $_ := set $settings "acme_hosts" .hosts -}}
{{- with .domains -}}
{{- $_ := set $settings "acme_domains" . -}}
{{- end -}}
{{- with .contact -}}
{{- $_ := set $settings "acme_contact" . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* What pods of HAProxy share, such as pod-maxconn. With a DaemonSet or with autoscaling they are counted. */ -}}
{{- if and (eq .Values.haproxy.kind "Deployment") (not .Values.haproxy.autoscaling.enabled) (not .Values.haproxy.keda.enabled) (gt (int .Values.haproxy.replicaCount) 0) -}}
{{- $_ := set $settings "haproxy_pods" (int .Values.haproxy.replicaCount) -}}
{{- end -}}
{{- with include "haptic.publishedService" . -}}
{{- $_ := set $settings "publish_service" . -}}
{{- end -}}
{{- $status := .Values.controller.ingressStatus -}}
{{- if and $status.enabled $status.publishAddresses -}}
{{- $_ := set $settings "publish_addresses" $status.publishAddresses -}}
{{- end -}}
{{- if and $status.enabled $status.publishNodes -}}
{{- $_ := set $settings "publish_nodes" $status.publishNodes -}}
{{- end -}}
{{- $made := dict "templatingSettings" (dict "extraContext" $settings) -}}
{{- if hasKey $config "templating_settings" -}}
{{- fail "controller.config.templating_settings: write \"templatingSettings\": the chart adds keys to it" -}}
{{- end -}}
{{- if hasKey $config "watched_resources" -}}
{{- fail "controller.config.watched_resources: write \"watchedResources\": the chart adds keys to it" -}}
{{- end -}}
{{- if hasKey ($config.controller | default dict) "leaderElection" -}}
{{- fail "controller.config.controller.leaderElection: write \"leader_election\", as in the defaults" -}}
{{- end -}}
{{- $kinds := dict -}}
{{- if .Values.controller.rbac.namespaces -}}
{{- $kinds = include "haptic.kindsOfNamespaces" . | fromYaml -}}
{{- end -}}
{{- if .Values.https.enabled -}}
{{- $_ := set $kinds "secrets" (include "haptic.kindOfCertificates" . | fromYaml) -}}
{{- end -}}
{{- if and $status.enabled $status.publishNodes -}}
{{- $_ := set $kinds "nodes" (dict "apiVersion" "v1" "resources" "nodes" "indexBy" (list "metadata.name")) -}}
{{- end -}}
{{- if or (not (hasKey $settings "haproxy_pods")) (hasKey $kinds "nodes") -}}
{{- $_ := set $kinds "haproxy_pods" (include "haptic.kindOfPods" . | fromYaml) -}}
{{- end -}}
{{- if $kinds -}}
{{- $_ := set $made "watchedResources" $kinds -}}
{{- end -}}
{{- mergeOverwrite $made $config | toYaml -}}
{{- end }}

{{/* What of it is read at a start only: a change restarts the pods. */}}
{{- define "haptic.configOfStart" -}}
{{- $config := include "haptic.config" . | fromYaml -}}
{{- $rendering := pick ($config.templatingSettings | default dict) "renderTimeout" "render_timeout" "renderMemoryBytes" "render_memory_bytes" "renderOutputBytes" "render_output_bytes" -}}
{{- pick $config "controller" "dataplane" "watchedResourcesIgnoreFields" "watched_resources_ignore_fields" | toJson -}}
{{- toJson $rendering -}}
{{- end }}
