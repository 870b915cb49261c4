#!/usr/bin/perl
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Whether a catalogue's translations have the same places for values as the sentences: msgfmt does not know "{name}".
use strict;
use warnings;
my ($file, $bad, $key, %said) = ($ARGV[0], 0, '');
open my $po, '<', $file or die "$file: $!";
while (<$po>) {
    if (/^(msgid|msgid_plural|msgctxt|msgstr(?:\[\d\])?) (".*")$/) { $said{ $key = $1 } = $2 }
    elsif (/^(".*")$/) { $said{$key} .= $1 }
    elsif (/^\s*$/)    { compare() }
}
compare();
exit $bad;

sub places { return join ' ', sort $_[0] =~ /\{(\w+)\}/g }

sub compare {
    for my $translation (grep { /^msgstr/ and $said{$_} ne '""' } keys %said) {
        my $there = places($said{$translation});
        # The singular of a count may do without the number.
        my @right = grep { defined and places($_) eq $there } @said{ 'msgid', 'msgid_plural' };
        next if @right;
        print STDERR "places: $file: $said{msgid} became $said{$translation}\n";
        $bad = 1;
    }
    %said = ();
}
