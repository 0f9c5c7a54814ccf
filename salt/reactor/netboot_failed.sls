{#- An ISO could not be fetched: tell a chat. Its address is netboot.webhook of the master. What the
    event says is a claim of the minion, so it is quoted. -#}
{% set sent = data.get("data") if data.get("data") is mapping else {} -%}
{% set text = data.get("id") | string ~ ": " ~ sent.get("file") | string ~ ": " ~ sent.get("error") | string -%}
netboot-iso-failed:
  runner.http.query:
    - args:
      - url: {{ opts["netboot.webhook"] | json }}
      - method: POST
      - header_dict: {Content-Type: application/json}
      - data: {{ {"text": text[:500]} | json | json }}
