# ISOs: fetched, verified, unpacked.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- set images = [] %}
{%- if config.get('images') %}

netboot-images-renamed:
  alt_iso.renamed:
    - name: {{ config.root }}/dist
    - config: {{ config | json }}
    - require:
      - netboot: netboot-config-applied

netboot-images-fetching:
  alt_iso.fetching:
    - name: {{ config.root }}/dist
    - images: {{ config.images | json }}
    - staging: {{ config.root }}/.staging
    - at_once: {{ config.fetch.at_once }}
    - attempts: {{ config.fetch.attempts }}
    - stall_timeout_s: {{ config.fetch.stall_timeout_s }}
    - require:
      - netboot: netboot-config-applied
      - file: netboot-staging
{%- endif %}
{%- for image in config.get('images', []) %}
{%- do images.append({'label': image.label, 'file': image.file}) %}

netboot-image-{{ image.label }}-fetched:
  alt_iso.fetched:
    - name: {{ config.root }}/dist/{{ image.file }}
    - image: {{ image | json }}
    - staging: {{ config.root }}/.staging
    - attempts: {{ config.fetch.attempts }}
    - stall_timeout_s: {{ config.fetch.stall_timeout_s }}
    - require:
      - alt_iso: netboot-images-fetching

netboot-image-{{ image.label }}-ready:
  alt_image.{{ 'mounted' if image.mount else 'unpacked' }}:
    - name: {{ config.root }}/tftp/netboot
    - iso: {{ config.root }}/dist/{{ image.file }}
    - image: {{ image | json }}
    - checksum: {{ image.checksum | json }}
    - staging: {{ config.root }}/.staging
    - require:
      - netboot: netboot-config-applied
      - alt_iso: netboot-image-{{ image.label }}-fetched

# Clients get it, with its new digests, while the ISOs of other images are still on their way.
netboot-image-{{ image.label }}-offered:
  netboot.menus_written:
    - name: {{ config.root }}/tftp
    - template: salt://netboot/files/menu.ipxe.jinja
    - staging: {{ config.root }}/.staging
    - onchanges:
      - alt_image: netboot-image-{{ image.label }}-ready
{%- endfor %}
{%- if not problems %}

# After the menus, so that these name nothing that is gone.
netboot-images-pruned:
  alt_image.pruned:
    - name: {{ config.root }}
    - images: {{ images | json }}
    - staging: {{ config.root }}/.staging
    - remove: {{ config.prune | json }}
    - order: last
    - require:
      - file: netboot-staging
{%- endif %}
