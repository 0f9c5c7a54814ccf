# Web server for dist/ and tftp/. Existing sites of the machine stay unchanged.
{%- from "netboot/map.jinja" import config, paths, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
  - netboot.ports
{%- if not problems %}
{%- set nginx = config.platform.nginx %}

netboot-http-packages:
  netboot_packages.installed:
    - name: web server
    - pkgs: {{ config.platform.packages.http | json }}

netboot-http-passwords:
  file.{{ 'managed' if config.menu.password.users else 'absent' }}:
    - name: {{ paths.passwords }}
    {%- if config.menu.password.users %}
    - contents:
      {%- for user, hash in config.menu.password.users | dictsort %}
      - {{ (user ~ ':' ~ hash) | json }}
      {%- endfor %}
    - user: root
    - group: {{ nginx.group }}
    - mode: '0640'
    - makedirs: True
    - show_changes: False
    - require:
      - netboot_packages: netboot-http-packages
    {%- endif %}

netboot-http-ready:
  netboot_http.site_ready:
    - name: web server
    - require:
      - netboot_packages: netboot-http-packages

# nginx can only test a whole configuration, so a copy with the new site is tested.
netboot-http-site:
  file.managed:
    - name: {{ nginx.directory }}/{{ nginx.site }}
    - source: salt://netboot/files/nginx.conf.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - check_cmd: >-
        sh -c 'set -e; copy=$(mktemp -d); trap "rm -r $copy" EXIT;
        cp -RP {{ nginx.directory }}/. $copy; cp "$0" $copy/{{ nginx.site }};
        sed -i "s|{{ nginx.directory }}/|$copy/|g" $copy/nginx.conf; nginx -t -q -c $copy/nginx.conf'
    - require:
      - netboot_packages: netboot-http-packages
      - file: netboot-http-passwords
      - netboot_http: netboot-http-ready

netboot-http-service:
  netboot_service.current:
    - name: {{ nginx.service }}
    - files: [{{ nginx.directory }}/{{ nginx.site }}]
    - reload: true
    - require:
      - file: netboot-http-site
{%- endif %}
