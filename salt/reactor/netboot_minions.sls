{#- A netboot server has a key for a host that it installs: the runner decides whether to accept it.
    What the event says is a claim, and cut to what a key may have; the runner checks all of it. -#}
{%- set sent = data.get("data") if data.get("data") is mapping else {} %}
netboot-minion-key:
  runner.netboot_minions.accept:
    - args:
      - id_: {{ (sent.get("id") | string)[:300] | json }}
      - pub: {{ (sent.get("pub") | string)[:5000] | json }}
      - netboot: {{ (data.get("id") | string)[:300] | json }}
