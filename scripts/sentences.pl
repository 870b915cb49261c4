#!/usr/bin/perl
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints the sentences for people of the library's files, one a line, with their places for values numbered or named:
# "{1} is loaded". Arguments: the files. What is said in tests, to programs or by attributes is left out.
use strict;
use warnings;
use open qw(:std :encoding(UTF-8));

my (%skip, %seen);
open my $list, '<', 'po/sentences.skip' or die "po/sentences.skip: $!";
while (<$list>) { chomp; $skip{$_} = 1 unless /^#/ }
close $list;

for my $file (@ARGV) {
    next if $file =~ /(?:tests?|testing|testkit|fake)\.rs$/;
    open my $in, '<', $file or die "$file: $!";
    my $text = do { local $/; <$in> };
    close $in;
    if ($file =~ /\.toml$/) {
        keep("$1", 1) while $text =~ /(?:^|\{|, )\s*(?:title|what|helps|harms|caution|note|reason|no_unlock) = "((?:[^"\\]|\\.)*)"/mg;
        next;
    }
    $text =~ s|#\[cfg\(test\)\]\s*(?:#\[[^\n]*\]\s*)*(?:pub(?:\([a-z]+\))? )?mod \w+;||g;
    $text =~ s|#\[cfg\(test\)\]\s*(?:#\[[^\n]*\]\s*)*(?:pub(?:\([a-z]+\))? )?mod .*||s;
    $text =~ s/^\s*\/\/.*$//mg;
    $text =~ s/#!?\[(?!error)\w+[^\]]*\]//g;
    $text =~ s/(?:debug|trace|info|warn)!\((?:[^()]|\([^()]*\))*\)//g;
    $text =~ s/'(?:\\.|[^'\\])'/0/g;
    $text =~ s/r#+".*?"#+/0/gs;
    my $words = $file =~ m{^src/(?:tell/|detect/conditions\.rs|flows/bench/(?:chart/mod|document|metrics)\.rs)};
    keep("$1", $words) while $text =~ /"((?:[^"\\]|\\.)*)"/gs;
}
print "$_\n" for keys %seen;

# A literal, if it is said to people. `words`: single words are, too.
sub keep {
    my ($said, $words) = @_;
    $said =~ s/\\\n\s*//g;
    $said =~ s/\\u\{([0-9a-f]+)\}/chr hex $1/ge;
    $said =~ s/\\n$//;
    # Only what is in the middle of others is joined by these.
    $said =~ s/^[,;.:]? +//;
    $said =~ s/[,;:]? +$//;
    $said =~ s/^\((.*)\)$/$1/ unless $said =~ /^\([^)]*\(|\).*\)$/;
    return if $said =~ /\n|\\n|\\t|\\0|\\\\/ or $skip{$said};
    (my $plain = $said) =~ s/\{[^}]*\}/\0/g;
    # Commands are not translated, nor is what they print, nor are names, expressions (`^...`) and markup.
    return if $plain =~ m{^[/.^-]|^<[?\w\0]+[ >]|^#|^[A-Z]+==|^w /|^--|^[\w.-]+ --\w|^\w+=-?/|=\0|^\0[/.]\0} or $plain !~ /[a-z]{2,}/;
    my $one = $plain =~ /^[A-Za-z][a-z]{3,}(?: [a-z]+)?$/;
    return unless $plain =~ /[a-z]{2,}.* \S|\S .*[a-z]{2,}/ or ($words and $one);
    # Too little that is fixed is found in anything.
    return if $plain =~ /^\0/ and length($plain =~ s/\0//gr) < 8;
    my $n = 0;
    $said =~ s/\{\{/\x01/g; $said =~ s/\}\}/\x02/g;
    $said =~ s/\{(\w*)(?::[^}]*)?\}/'{' . place("$1", \$n) . '}'/ge;
    return if $said =~ /[\x01\x02]/;
    # Two places beside each other cannot be told apart.
    $said =~ s/\}(?:\{\w*\})+/}/g;
    $said =~ s/\\"/"/g;
    return if $skip{$said};
    $seen{$said} = 1;
}

# The name of a place: as it is written, or its number from 1 on.
sub place {
    my ($name, $n) = @_;
    return $name eq '' ? ++$$n : $name =~ /^\d+$/ ? $name + 1 : $name;
}
